import { requireViewer } from "@continuo/subgraph";
import type { Resolvers } from "../generated/graphql.ts";

/** Resolvers for lost writes. */
export const historyResolvers = {
  Query: {
    stateHistory: async (_parent, unit, context) => [...(await context.history.of(requireViewer(context), unit))],
  },
} satisfies Resolvers;
