import { requireViewer } from "@continuo/subgraph";
import type { Resolvers } from "../generated/graphql.ts";

/** Resolvers for devices: their sync status. */
export const syncStatusResolvers = {
  Device: {
    __resolveReference: ({ id }) => ({ id }),
    syncStatus: ({ id }, _args, context) => context.syncStatusOf(requireViewer(context), id),
  },
} satisfies Resolvers;
