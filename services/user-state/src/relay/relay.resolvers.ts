import { parseInput, requireViewer } from "@continuo/subgraph";
import { z } from "zod";
import type { Resolvers } from "../generated/graphql.ts";

const MAX_AT_ONCE = 50;

const Input = z.object({
  sealed: z.array(z.string().max(16_384)).max(MAX_AT_ONCE),
  namespaces: z
    .array(z.string())
    .min(1)
    .max(64)
    .nullish()
    .transform((given) => given ?? undefined),
});

/** Resolvers for relayed changes. */
export const relayResolvers = {
  Query: {
    relayedChanges: async (_parent, args, context) => {
      const viewer = requireViewer(context);
      return [...(await context.relay.open(viewer, parseInput(Input, args)))];
    },
  },
} satisfies Resolvers;
