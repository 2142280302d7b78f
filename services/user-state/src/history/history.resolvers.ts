import { requireViewer } from "@continuo/subgraph";
import type { Resolvers } from "../generated/graphql.ts";

/** What gave way. */
export const historyResolvers = {
  Query: {
    stateHistory: async (_parent, unit, context) => [...(await context.history.of(requireViewer(context), unit))],
  },
} satisfies Resolvers;
