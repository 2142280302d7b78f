import { AppError } from "@continuo/errors";
import { MAX_OPS, PROTOCOL_VERSION } from "@continuo/merge/protocol";
import { parseInput, requireViewer } from "@continuo/subgraph";
import { z } from "zod";
import type { Resolvers } from "../generated/graphql.ts";
import { viewByPolicy } from "../namespace/namespace.ts";
import { viewOf } from "./unit.ts";

const id = z.uuid().transform((text) => text.toLowerCase());
const instant = z.object({ ms: z.number(), counter: z.number().min(0) });

/** The protocol's `PushRequest` in GraphQL: optional members are absent there and null here. */
const PushInput = z.object({
  protocol: z.literal(PROTOCOL_VERSION),
  clientId: id,
  epoch: id,
  clientNow: z.number(),
  baseRev: z.number(),
  pending: z
    .number()
    .min(0)
    .nullish()
    .transform((pending) => pending ?? undefined),
  ops: z
    .array(
      z.object({
        seq: z.number().min(1, "seq starts at 1"),
        namespace: z.string(),
        key: z.string(),
        field: z.string(),
        payload: z.unknown(),
        stamp: instant,
        seen: instant.nullish().transform((seen) => seen ?? null),
        baseRev: z.number(),
        schemaVersion: z.number().min(1),
      }),
    )
    .min(1, "a push has at least one op"),
});

/** The largest Int of GraphQL, which a quota may exceed. */
const MAX_INT = 2 ** 31 - 1;

/** Resolvers for pushes. */
export const entryResolvers = {
  Mutation: {
    pushState: (_parent, { input }, context) => {
      const viewer = requireViewer(context);
      if (input.ops.length > MAX_OPS)
        throw new AppError("BAD_USER_INPUT", "TOO_MANY_OPS", `A push has at most ${MAX_OPS} ops: send fewer.`);
      return context.entries.push(viewer, parseInput(PushInput, input));
    },
  },
  QuotaRemaining: {
    entries: ({ entries }) => Math.min(entries, MAX_INT),
    bytes: ({ bytes }) => Math.min(bytes, MAX_INT),
  },
  OpOutcome: {
    current: ({ standing }, _args, { namespaces }) => {
      if (standing === null) return null;
      return standing.kind === "PROGRESS" ? viewByPolicy(namespaces, standing) : (viewOf(standing) ?? null);
    },
  },
  FirstAnswer: {
    reason: ({ fault }) => fault?.reason ?? null,
    message: ({ fault }) => fault?.message ?? null,
  },
} satisfies Resolvers;
