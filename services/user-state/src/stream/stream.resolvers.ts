import { MAX_PAGE, MAX_WAIT_MS } from "@continuo/merge/protocol";
import { parseInput, requireViewer } from "@continuo/subgraph";
import { z } from "zod";
import { viewOf } from "../entry/unit.ts";
import { viewByPolicy } from "../namespace/namespace.ts";
import type { Resolvers } from "../generated/graphql.ts";
import { assertSelf } from "./stream.ts";

const optional = <Schema extends z.ZodType>(schema: Schema) =>
  schema.nullish().transform((given) => given ?? undefined);

const PullInput = z.object({
  since: optional(z.string().max(256)),
  namespaces: optional(z.array(z.string()).min(1).max(64)),
  clientId: optional(z.uuid().transform((text) => text.toLowerCase())),
  first: z.number().min(1).max(MAX_PAGE),
  waitMs: z.number().min(0).max(MAX_WAIT_MS),
});

/** Resolvers for pulls and entries. */
export const streamResolvers = {
  Query: {
    pullState: (_parent, args, context) => {
      const viewer = requireViewer(context);
      return context.stream.pull(viewer, parseInput(PullInput, args), context);
    },
  },
  User: {
    __resolveReference: ({ id }) => ({ id }),
    state: ({ id }, args, context) => {
      const viewer = requireViewer(context);
      assertSelf(viewer, id);
      return context.stream.pull(viewer, parseInput(PullInput, { ...args, waitMs: 0 }), context);
    },
  },
  StateEntry: {
    value: (entry, _args, { namespaces }) =>
      entry.kind === "PROGRESS" ? viewByPolicy(namespaces, entry) : (viewOf(entry) ?? null),
  },
} satisfies Resolvers;
