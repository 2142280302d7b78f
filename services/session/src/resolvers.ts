import { DateTime } from "@continuo/subgraph";
import { auditResolvers } from "./audit/audit.resolvers.ts";
import { deviceResolvers } from "./device/device.resolvers.ts";
import type { Resolvers } from "./generated/graphql.ts";
import { oauthResolvers } from "./oauth/oauth.resolvers.ts";
import { policyResolvers } from "./policy/policy.resolvers.ts";
import { revocationResolvers } from "./revocation/revocation.resolvers.ts";
import { sessionResolvers } from "./session/session.resolvers.ts";
import { stepUpResolvers } from "./step-up/step-up.resolvers.ts";
import { tokenResolvers } from "./token/token.resolvers.ts";

/** Combines all features' resolvers, merging types to which several features add fields. */
export const resolvers: Resolvers = {
  DateTime,
  Query: { ...sessionResolvers.Query, ...deviceResolvers.Query, ...revocationResolvers.Query },
  Mutation: {
    ...sessionResolvers.Mutation,
    ...tokenResolvers.Mutation,
    ...oauthResolvers.Mutation,
    ...stepUpResolvers.Mutation,
    ...deviceResolvers.Mutation,
    ...revocationResolvers.Mutation,
  },
  Viewer: { ...sessionResolvers.Viewer, ...deviceResolvers.Viewer, ...auditResolvers.Viewer },
  SecurityEvent: { ...auditResolvers.SecurityEvent },
  Session: { ...sessionResolvers.Session },
  Application: { ...sessionResolvers.Application },
  Policy: { ...policyResolvers.Policy },
  Device: { ...deviceResolvers.Device },
  RevocationReceipt: { ...revocationResolvers.RevocationReceipt },
};
