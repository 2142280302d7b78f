import { isText } from "@continuo/merge";
import { parseInput, requireViewer } from "@continuo/subgraph";
import { z } from "zod";
import type { Resolvers } from "../generated/graphql.ts";
import { activityNotFound } from "./activity.ts";
import { assertSelf } from "../stream/stream.ts";

const MAX_URIS = 8;
const Word = z.string().regex(/^[a-z][a-z0-9._-]{0,31}$/, "expected a word in lower case, at most 32 characters");
/** Others' screens make links of them. */
const RUN_BY_BROWSERS = /^(javascript|data|vbscript|blob|file):/i;
const Uri = z
  .string()
  .max(2_048)
  .refine(
    (uri) => URL.canParse(uri) && !RUN_BY_BROWSERS.test(new URL(uri).href),
    "expected an absolute URI that can be linked to",
  );
const Name = z.string().min(1).max(256).refine(isText, "expected text without NUL or half characters");

const Published = z.object({
  kind: Word,
  title: z.string().trim().min(1).max(200).refine(isText, "expected text without NUL or half characters"),
  uris: z
    .array(z.object({ platform: Word, uri: Uri }))
    .max(MAX_URIS)
    .refine(
      (uris) => new Set(uris.map(({ platform }) => platform)).size === uris.length,
      "expected each platform once",
    ),
  namespace: z.string().max(256),
  key: Name,
  field: Name,
  schemaVersion: z.number().min(1),
  stamp: z.object({ ms: z.number(), counter: z.number().min(0).max(65_535) }),
  clientNow: z.number(),
});
const Changes = z.object({ first: z.number().min(1).max(100), since: z.string().max(64).nullish() });
const Id = z.uuid().transform((id) => id.toLowerCase());

/** Activities come in and go out. */
export const activityResolvers = {
  Query: {
    activityChanges: (_parent, args, context) => {
      const viewer = requireViewer(context);
      const { since, first } = parseInput(Changes, args);
      return context.activities.changes(viewer, since ?? null, first);
    },
  },
  Mutation: {
    publishActivity: (_parent, { input }, context) => {
      const viewer = requireViewer(context);
      return context.activities.publish(viewer, parseInput(Published, input));
    },
    endActivity: (_parent, { id }, context) => context.activities.end(requireViewer(context), idOf(id)),
    takeOver: (_parent, { activityId, force }, context) =>
      context.takeOvers.takeOver(requireViewer(context), idOf(activityId), { force }),
    confirmFlush: (_parent, { activityId, fence }, context) =>
      context.takeOvers.confirmFlush(requireViewer(context), idOf(activityId), fence),
  },
  User: {
    resume: async ({ id }, _args, context) => {
      const viewer = requireViewer(context);
      assertSelf(viewer, id);
      return [...(await context.resumeFor(viewer))];
    },
  },
  Device: {
    resume: async ({ id }, _args, context) =>
      (await context.resumeFor(requireViewer(context))).filter(({ device }) => device.id === id.toLowerCase()),
  },
} satisfies Resolvers;

/** An invalid id identifies no activity. */
function idOf(text: string): string {
  const parsed = Id.safeParse(text);
  if (!parsed.success) throw activityNotFound();
  return parsed.data;
}
