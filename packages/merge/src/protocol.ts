/**
 * What replicas and server say to each other: schema and type together. The graph's operations carry the same; a stream
 * over another transport sends these as JSON. A moved shape fails `protocol.test.ts`: an addition that both sides may
 * lack is recorded there, anything else is a new PROTOCOL_VERSION.
 */
import * as z from "zod/mini";
import { APPLY_REJECT_REASONS, KIND_NAMES, type KindName } from "./kind.ts";
import { PAYLOADS, StampSchema, type Payload } from "./payload.ts";

export { MAX_GENERATION, PAYLOADS } from "./payload.ts";
export { STATES } from "./state.ts";

export const PROTOCOL_VERSION = 1;

export const MAX_OPS = 100;
/** Of keys, fields and payloads as JSON. */
export const MAX_PUSH_BYTES = 256 * 1024;
/** Entries of one page. */
export const MAX_PAGE = 500;
/** How long a pull may wait for a change, in milliseconds: for those who cannot keep a stream open. */
export const MAX_WAIT_MS = 25_000;

const Rev = z.int().check(z.gte(0));
const Milliseconds = z.int().check(z.gte(0));
const Cursor = z.string().check(z.minLength(1), z.maxLength(256));
const Instant = z.object({ ms: Milliseconds, counter: z.int().check(z.gte(0)) });

/**
 * A change of one unit. Immutable once it has its `seq`: a retry sends the same again. Lenient on purpose: what is wrong
 * with its names, its payload or its counters is judged op by op, so that a poisoned one does not spoil the push.
 */
export const OpMessage = z.object({
  /** 1, 2, 3 … without gaps for each replica. */
  seq: z.int().check(z.gte(1)),
  namespace: z.string(),
  key: z.string(),
  field: z.string(),
  payload: z.unknown(),
  stamp: Instant,
  seen: z.nullable(Instant),
  /** What this replica had applied when the change was made; not when it was sent. */
  baseRev: Rev,
  schemaVersion: z.int().check(z.gte(1)),
});
export type OpMessage = z.infer<typeof OpMessage>;

export const PushRequest = z.object({
  protocol: z.literal(PROTOCOL_VERSION),
  clientId: z.uuid(),
  /** Of the last batch pulled. */
  epoch: z.uuid(),
  /** The device's clock at the moment of sending. */
  clientNow: Milliseconds,
  /** What this replica has applied by now: acknowledges it. */
  baseRev: Rev,
  /** How many changes wait on the device behind these, so that others can be told; absent when it does not say. */
  pending: z.optional(z.int().check(z.gte(0))),
  ops: z.array(OpMessage).check(z.minLength(1), z.maxLength(MAX_OPS)),
});
export type PushRequest = z.infer<typeof PushRequest>;

/** Why one op is refused for good; its seq is used up. */
export const REJECT_REASONS = [
  "NAMESPACE_UNKNOWN",
  "NAMESPACE_NOT_STORED",
  "SCHEMA_VERSION_UNKNOWN",
  "KEY_INVALID",
  "FIELD_UNKNOWN",
  "STAMP_INVALID",
  "OP_NOT_ALLOWED",
  "VALUE_INVALID",
  "VALUE_TOO_LARGE",
  "KIND_CHANGED",
  "GONE",
  "OVER_QUOTA",
  /** What stands cannot be read or changed: a fault of the server, which logs it. */
  "UNIT_BROKEN",
  ...APPLY_REJECT_REASONS,
] as const;
export type RejectReason = (typeof REJECT_REASONS)[number];

/** Why a whole push or pull is refused; nothing of it took effect. */
export const REQUEST_REJECT_REASONS = [
  /** Start over: drop what you hold, pull without a cursor. */
  "EPOCH_CHANGED",
  /** Take a new clientId, and send under it what is not settled. */
  "CLIENT_UNKNOWN",
  "CLIENT_OF_OTHER_DEVICE",
  /** The device has as many as it may: go on under one of them. */
  "TOO_MANY_CLIENTS",
  "TOO_MANY_OPS",
  "PUSH_TOO_LARGE",
  "CURSOR_INVALID",
  "NAMESPACE_UNKNOWN",
  /** This client is too old: keep the queue and update. */
  "UPGRADE_REQUIRED",
  /** The service has too much to do: the same again after `details.retryAfterMs`. */
  "OVERLOADED",
  /** As many pulls wait as may: the same. */
  "TOO_MANY_WAIT",
] as const;
export type RequestRejectReason = (typeof REQUEST_REJECT_REASONS)[number];

export const OutcomeMessage = z.discriminatedUnion("status", [
  z.object({
    seq: Rev,
    status: z.enum(["APPLIED", "MERGED", "NOOP", "SUPERSEDED"]),
    /** Of the unit as it stands now; null when nobody has written it. */
    rev: z.nullable(Rev),
    /** The effective stamp that the server gave the change. */
    stamp: StampSchema,
    /** What stands, as clients show it, unless the change stands itself; null for nothing. */
    current: z.unknown(),
    losers: z.array(
      z.object({ name: z.nullable(z.string()), value: z.unknown(), deleted: z.boolean(), stamp: StampSchema }),
    ),
  }),
  z.object({
    seq: Rev,
    status: z.literal("REJECTED"),
    reason: z.enum(REJECT_REASONS),
    message: z.string(),
    current: z.unknown(),
  }),
  z.object({
    seq: Rev,
    status: z.literal("DUPLICATE"),
    /** What it was answered first; null when that is no longer known, or was APPLIED. */
    first: z.nullable(
      z.union([
        z.object({ status: z.enum(["MERGED", "NOOP", "SUPERSEDED"]) }),
        z.object({ status: z.literal("REJECTED"), reason: z.enum(REJECT_REASONS), message: z.string() }),
      ]),
    ),
    rev: z.nullable(Rev),
  }),
]);
export type OutcomeMessage = z.infer<typeof OutcomeMessage>;

export const PushResponse = z.object({
  /** One for each op that was settled, in their order. */
  outcomes: z.array(OutcomeMessage),
  /** The last seq of this replica that is settled. */
  lastSeq: Rev,
  headRev: Rev,
  /** The server's clock. */
  serverNow: Milliseconds,
  /** Why not all were settled; those that were are committed. GAP: send from lastSeq + 1. RETRY: the same, later. */
  stop: z.nullable(z.enum(["GAP", "RETRY"])),
  retryAfterMs: z.nullable(Milliseconds),
  /** What may still be stored; negative when a quota was lowered. */
  quotaRemaining: z.object({ bytes: z.int(), entries: z.int() }),
});
export type PushResponse = z.infer<typeof PushResponse>;

export const PullRequest = z.object({
  protocol: z.literal(PROTOCOL_VERSION),
  /** Null: from the beginning. */
  since: z.nullable(Cursor),
  /** Null: all. */
  namespaces: z.nullable(z.array(z.string().check(z.maxLength(256))).check(z.minLength(1), z.maxLength(64))),
  /** With a cursor: what this replica has applied is acknowledged. */
  clientId: z.nullable(z.uuid()),
  first: z.int().check(z.gte(1), z.lte(MAX_PAGE)),
  waitMs: z.int().check(z.gte(0), z.lte(MAX_WAIT_MS)),
});
export type PullRequest = z.infer<typeof PullRequest>;

/** One unit as it stands. */
export const EntryMessage = z.object({
  namespace: z.string(),
  key: z.string(),
  field: z.string(),
  kind: z.enum(KIND_NAMES),
  /** As the kind made it, for replicas that apply changes to it: see STATES. */
  state: z.unknown(),
  /** As clients show it; null when `deleted`. */
  value: z.unknown(),
  deleted: z.boolean(),
  rev: Rev,
  schemaVersion: z.int().check(z.gte(1)),
  /** When its time is up, by the server's clock; absent or null: never. A replica shows it no more from then on. */
  expiresAt: z.optional(z.nullable(Milliseconds)),
});
export type EntryMessage = z.infer<typeof EntryMessage>;

/**
 * One page of a pull, and one message of the stream of changes: what changed after `from`, up to `to`. They chain: apply
 * one only if its `from` is your cursor, else pull. Show pages only once `hasMore` is false.
 */
export const StateBatch = z.object({
  /** Null: from the beginning. */
  from: z.nullable(Cursor),
  to: Cursor,
  entries: z.array(EntryMessage),
  hasMore: z.boolean(),
  headRev: Rev,
  epoch: z.uuid(),
  /** The last seq of the asking replica that these entries contain; null without a clientId. */
  lastSeq: z.nullable(Rev),
  /** Why what you hold is to be dropped before applying this; null when it is not. */
  reset: z.nullable(z.enum(["INITIAL", "EPOCH_CHANGED", "PRUNED", "NAMESPACES_CHANGED"])),
  serverNow: Milliseconds,
});
export type StateBatch = z.infer<typeof StateBatch>;

/** What opens the stream of changes, and opens it again where it broke off. */
export const SubscribeRequest = z.omit(PullRequest, { first: true, waitMs: true });
export type SubscribeRequest = z.infer<typeof SubscribeRequest>;

export type ParsedPayload<Name extends KindName> =
  | { readonly success: true; readonly payload: Payload<Name> }
  /** The message names each fault with its path; `path` is the first one's. */
  | { readonly success: false; readonly message: string; readonly path: readonly PropertyKey[] };

const schemas: { readonly [Name in KindName]: z.ZodMiniType<Payload<Name>> } = PAYLOADS;

/** Whether an op of this kind may ask for `payload`, and the payload with nothing else in it. */
export function parsePayload<Name extends KindName>(kind: Name, payload: unknown): ParsedPayload<Name> {
  const parsed = z.safeParse(schemas[kind], payload);
  if (parsed.success) return { success: true, payload: parsed.data };
  return { success: false, message: z.prettifyError(parsed.error), path: parsed.error.issues[0]?.path ?? [] };
}
