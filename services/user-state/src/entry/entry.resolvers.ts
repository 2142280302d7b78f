import { AppError } from "@continuo/errors";
import { parseInput, requireViewer } from "@continuo/subgraph";
import { z } from "zod";
import type { Resolvers } from "../generated/graphql.ts";
import { MAX_OPS } from "./entry.ts";

const id = z.uuid().transform((text) => text.toLowerCase());
const instant = z.object({ ms: z.number(), counter: z.number() });

const PushInput = z.object({
  clientId: id,
  epoch: id,
  clientNow: z.number(),
  baseRev: z.number(),
  ops: z
    .array(
      z.object({
        seq: z.number().min(1, "seq starts at 1"),
        namespace: z.string(),
        key: z.string(),
        field: z.string(),
        op: z.enum(["SET", "DELETE"]),
        value: z.unknown().optional(),
        stamp: instant,
        seen: instant.nullish().transform((seen) => seen ?? undefined),
        schemaVersion: z.number(),
      }),
    )
    .min(1, "a push has at least one op"),
});

/** Changes come in. */
export const entryResolvers = {
  Mutation: {
    pushState: (_parent, { input }, context) => {
      const viewer = requireViewer(context);
      if (input.ops.length > MAX_OPS)
        throw new AppError("BAD_USER_INPUT", "TOO_MANY_OPS", `A push has at most ${MAX_OPS} ops: send fewer.`);
      return context.entries.push(viewer, parseInput(PushInput, input));
    },
  },
} satisfies Resolvers;
