import { requireViewer } from "@continuo/subgraph";
import type { Resolvers } from "../generated/graphql.ts";

/** What this subgraph knows of a device. */
export const syncStatusResolvers = {
  Device: {
    __resolveReference: ({ id }) => ({ id }),
    syncStatus: ({ id }, _args, context) => context.syncStatusOf(requireViewer(context), id),
  },
} satisfies Resolvers;
