import { requireViewer } from "@continuo/subgraph";
import type { Resolvers } from "../generated/graphql.ts";

/** Resolvers for the registered namespaces. */
export const namespaceResolvers = {
  Query: {
    stateNamespaces: (_parent, _args, context) => {
      requireViewer(context);
      return context.namespaces.all();
    },
  },
  Namespace: {
    fields: ({ definition }) => Object.entries(definition.fields).map(([name, field]) => ({ name, ...field })),
    persistence: ({ definition }) => definition.persistence,
    ttlSeconds: ({ definition }) => definition.ttlSeconds,
    quota: ({ definition }) => definition.quota,
    resumePolicy: ({ definition }) => definition.policy.resume,
    minClientVersion: ({ definition }) => definition.minClientVersion,
    lens: ({ definition }) => definition.lens,
  },
} satisfies Resolvers;
