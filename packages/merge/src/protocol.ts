/**
 * The messages between replicas and server: schema and type together. The GraphQL operations carry the same content;
 * other transports send these as JSON. Changing a shape fails `protocol.test.ts`: an addition that either side may omit
 * is recorded there, anything else needs a new PROTOCOL_VERSION.
 */
import * as z from "zod/mini";
import { APPLY_REJECT_REASONS, KIND_NAMES, type KindName } from "./kind.ts";
import { PAYLOADS, StampSchema, type Payload } from "./payload.ts";

export { MAX_GENERATION, PAYLOADS } from "./payload.ts";
export { STATES } from "./state.ts";

export const PROTOCOL_VERSION = 1;

export const MAX_OPS = 100;
/** The size of keys, fields and payloads as JSON. */
export const MAX_PUSH_BYTES = 256 * 1024;
/** The maximum number of entries in one page. */
export const MAX_PAGE = 500;
/** How long a pull may wait for a change, in milliseconds, for clients that cannot keep a stream open. */
export const MAX_WAIT_MS = 25_000;

const Rev = z.int().check(z.gte(0));
const Milliseconds = z.int().check(z.gte(0));
const Cursor = z.string().check(z.minLength(1), z.maxLength(256));
const Instant = z.object({ ms: Milliseconds, counter: z.int().check(z.gte(0)) });

/**
 * A change of one unit. Immutable once it has its `seq`: a retry sends the identical op. Deliberately lenient: invalid
 * names, payloads and counters are judged op by op, so that one bad op does not spoil the push.
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
  /** The replica's `rev` when the change was made, not when it was sent. */
  baseRev: Rev,
  schemaVersion: z.int().check(z.gte(1)),
});
export type OpMessage = z.infer<typeof OpMessage>;

export const PushRequest = z.object({
  protocol: z.literal(PROTOCOL_VERSION),
  clientId: z.uuid(),
  /** The epoch of the last batch pulled. */
  epoch: z.uuid(),
  /** The device's clock at the moment of sending. */
  clientNow: Milliseconds,
  /** The revision that this replica has applied by now; acknowledges it. */
  baseRev: Rev,
  /**
   * How many more changes wait on the device, so that other devices can be told; absent when the client does not say.
   */
  pending: z.optional(z.int().check(z.gte(0))),
  ops: z.array(OpMessage).check(z.minLength(1), z.maxLength(MAX_OPS)),
});
export type PushRequest = z.infer<typeof PushRequest>;

/** Why one op is rejected for good; its seq is used up. */
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
  /** The stored state cannot be read or changed: a server fault, which the server logs. */
  "UNIT_BROKEN",
  ...APPLY_REJECT_REASONS,
] as const;
export type RejectReason = (typeof REJECT_REASONS)[number];

/** Why a whole push or pull is refused; none of it took effect. */
export const REQUEST_REJECT_REASONS = [
  /** Drop the local copy and pull without a cursor. */
  "EPOCH_CHANGED",
  /** Take a new clientId and resend the unsettled ops under it. */
  "CLIENT_UNKNOWN",
  "CLIENT_OF_OTHER_DEVICE",
  /** The device has its maximum number of clientIds: reuse one of them. */
  "TOO_MANY_CLIENTS",
  "TOO_MANY_OPS",
  "PUSH_TOO_LARGE",
  "CURSOR_INVALID",
  "NAMESPACE_UNKNOWN",
  /** This client is too old: keep the queue and update. */
  "UPGRADE_REQUIRED",
  /** The service is overloaded: retry the same after `details.retryAfterMs`. */
  "OVERLOADED",
  /** Too many pulls are waiting: likewise. */
  "TOO_MANY_WAIT",
] as const;
export type RequestRejectReason = (typeof REQUEST_REJECT_REASONS)[number];

export const OutcomeMessage = z.discriminatedUnion("status", [
  z.object({
    seq: Rev,
    status: z.enum(["APPLIED", "MERGED", "NOOP", "SUPERSEDED"]),
    /** The current revision of the unit; null when it was never written. */
    rev: z.nullable(Rev),
    /** The effective stamp that the server gave the change. */
    stamp: StampSchema,
    /** The value that stands, as clients show it, unless it is this change's own; null for nothing. */
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
    /** The original outcome; null when it is no longer known, or was APPLIED. */
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
  /** One outcome per settled op, in their order. */
  outcomes: z.array(OutcomeMessage),
  /** The last settled seq of this replica. */
  lastSeq: Rev,
  headRev: Rev,
  /** The server's clock. */
  serverNow: Milliseconds,
  /**
   * Why not all ops were settled; those that were are committed. GAP: send from lastSeq + 1. RETRY: the same, later.
   */
  stop: z.nullable(z.enum(["GAP", "RETRY"])),
  retryAfterMs: z.nullable(Milliseconds),
  /** The remaining quota; negative when a quota was lowered. */
  quotaRemaining: z.object({ bytes: z.int(), entries: z.int() }),
});
export type PushResponse = z.infer<typeof PushResponse>;

export const PullRequest = z.object({
  protocol: z.literal(PROTOCOL_VERSION),
  /** Null: from the beginning. */
  since: z.nullable(Cursor),
  /** Null: all. */
  namespaces: z.nullable(z.array(z.string().check(z.maxLength(256))).check(z.minLength(1), z.maxLength(64))),
  /** With a cursor, acknowledges what this replica has applied. */
  clientId: z.nullable(z.uuid()),
  first: z.int().check(z.gte(1), z.lte(MAX_PAGE)),
  waitMs: z.int().check(z.gte(0), z.lte(MAX_WAIT_MS)),
});
export type PullRequest = z.infer<typeof PullRequest>;

/** The current state of one unit. */
export const EntryMessage = z.object({
  namespace: z.string(),
  key: z.string(),
  field: z.string(),
  kind: z.enum(KIND_NAMES),
  /** The kind's internal state, for replicas that apply changes to it: see STATES. */
  state: z.unknown(),
  /** As clients show it; null when `deleted`. */
  value: z.unknown(),
  deleted: z.boolean(),
  rev: Rev,
  schemaVersion: z.int().check(z.gte(1)),
  /** When it expires, by the server's clock; absent or null: never. Replicas hide it from then on. */
  expiresAt: z.optional(z.nullable(Milliseconds)),
});
export type EntryMessage = z.infer<typeof EntryMessage>;

/**
 * One page of a pull, or one message of the change stream: what changed after `from`, up to `to`. Batches form a chain:
 * apply one only if its `from` is your cursor, otherwise pull. Show pages only once `hasMore` is false.
 */
export const StateBatch = z.object({
  /** Null: from the beginning. */
  from: z.nullable(Cursor),
  to: Cursor,
  entries: z.array(EntryMessage),
  hasMore: z.boolean(),
  headRev: Rev,
  epoch: z.uuid(),
  /** The last seq of the requesting replica that these entries include; null without a clientId. */
  lastSeq: z.nullable(Rev),
  /** Why the local copy must be dropped before applying this batch; null when it need not be. */
  reset: z.nullable(z.enum(["INITIAL", "EPOCH_CHANGED", "PRUNED", "NAMESPACES_CHANGED"])),
  serverNow: Milliseconds,
});
export type StateBatch = z.infer<typeof StateBatch>;

/** Opens the change stream, or reopens it after an interruption. */
export const SubscribeRequest = z.omit(PullRequest, { first: true, waitMs: true });
export type SubscribeRequest = z.infer<typeof SubscribeRequest>;

export type ParsedPayload<Name extends KindName> =
  | { readonly success: true; readonly payload: Payload<Name> }
  /** The message names each fault with its path; `path` is that of the first. */
  | { readonly success: false; readonly message: string; readonly path: readonly PropertyKey[] };

const schemas: { readonly [Name in KindName]: z.ZodMiniType<Payload<Name>> } = PAYLOADS;

/** Validates `payload` for this kind and returns it without unknown members. */
export function parsePayload<Name extends KindName>(kind: Name, payload: unknown): ParsedPayload<Name> {
  const parsed = z.safeParse(schemas[kind], payload);
  if (parsed.success) return { success: true, payload: parsed.data };
  return { success: false, message: z.prettifyError(parsed.error), path: parsed.error.issues[0]?.path ?? [] };
}
