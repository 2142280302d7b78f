import { parseInput, requireViewer } from "@continuo/subgraph";
import { z } from "zod";
import type { Resolvers } from "../generated/graphql.ts";

const EraseInput = z.object({
  namespaces: z
    .array(z.string())
    .min(1)
    .max(64)
    .nullish()
    .transform((names) => names ?? undefined),
});

/** Resolvers for erasure. */
export const erasureResolvers = {
  Mutation: {
    eraseState: (_parent, args, context) => {
      const viewer = requireViewer(context);
      return context.eraseState(viewer, parseInput(EraseInput, args).namespaces);
    },
  },
} satisfies Resolvers;
