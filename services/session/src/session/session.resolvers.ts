import { parseInput } from "@continuo/subgraph";
import { z } from "zod";
import { DeviceInput } from "../device/device.ts";
import type { Resolvers } from "../generated/graphql.ts";
import { expiryOf, standingOf } from "./session.ts";

const StartSessionInput = z.object({
  grant: z.string().max(4_096),
  applicationId: z.string().min(1).max(128),
  device: DeviceInput,
});
const Id = z.uuid();

export const sessionResolvers: Resolvers = {
  Query: {
    viewer: async (_root, _args, context) => (context.caller.kind === "viewer" ? context.liveSession() : null),
  },

  Viewer: {
    user: ({ userId }) => ({ id: userId }),
    session: (session) => session,
    device: async ({ deviceId, userId }, _args, context) => context.requireDevice(deviceId, userId),
  },

  Mutation: {
    startSession: async (_root, { input }, context) => {
      const tokens = await context.startSession({
        ...parseInput(StartSessionInput, input),
        isAuthenticated: false,
        jkt: context.jkt,
        ipPrefix: context.ipPrefix,
      });
      context.reread();
      context.adopt(tokens.session);
      return tokens;
    },
  },

  Session: {
    __resolveReference: async ({ id }, context) => {
      if (context.caller.kind !== "viewer" || !Id.safeParse(id).success) return null;
      const { userId } = await context.liveSession();
      return (await context.session(id, userId)) ?? null;
    },
    application: async ({ applicationId }, _args, context) =>
      (await context.application(applicationId)) ?? { id: applicationId, name: applicationId },
    device: async ({ deviceId, userId }, _args, context) => context.requireDevice(deviceId, userId),
    isCurrent: ({ id }, _args, context) => context.isCurrentSession(id),
    state: (session, _args, { at }) => standingOf(session, at).state,
    endedAt: (session, _args, { at }) => {
      const standing = standingOf(session, at);
      return standing.state === "ACTIVE" ? null : standing.endedAt;
    },
    endReason: (session, _args, { at }) => {
      const standing = standingOf(session, at);
      return standing.state === "ACTIVE" ? null : standing.endReason;
    },
    expiresAt: (session) => expiryOf(session).at,
    expiresBecause: (session) => expiryOf(session).because,
    expiresAtLatest: ({ absoluteDeadline }) => absoluteDeadline,
    policy: async (session, _args, context) => context.policyOf(session),
    authenticatedAt: ({ authTime }) => authTime,
  },

  Application: {
    __resolveReference: async ({ id }, context) => (await context.application(id)) ?? null,
  },
};
