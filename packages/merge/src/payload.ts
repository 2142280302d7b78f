/** What an op asks for, by kind: schema and type together. Each kind's own file defines what the op does. */
import * as z from "zod/mini";
import { isJson, isText, jsonBytes, MAX_NAME_CHARACTERS, MAX_VALUE_BYTES, MAX_VALUE_DEPTH, type Json } from "./json.ts";
import type { KindName } from "./kind.ts";
import { isPosition, MAX_POSITION_CHARACTERS } from "./position.ts";
import { MAX_COUNTER } from "./stamp.ts";

const JSON_ERROR = `expected JSON of at most ${MAX_VALUE_DEPTH} levels, without NUL or half characters in text`;

/** Any JSON within the limits of a value. */
const Value = z
  .custom<Json>((value) => isJson(value), { error: JSON_ERROR, abort: true })
  .check(z.refine((value) => jsonBytes(value) <= MAX_VALUE_BYTES, `expected at most ${MAX_VALUE_BYTES} bytes as JSON`));

/** The name of a member, an element or a field. */
const Name = z
  .string()
  .check(
    z.minLength(1),
    z.maxLength(MAX_NAME_CHARACTERS),
    z.refine(isText, "expected text without NUL or half characters"),
  );

const Position = z
  .string()
  .check(z.maxLength(MAX_POSITION_CHARACTERS), z.refine(isPosition, "expected a position between others"));

const base64 = (maxBytes: number) => z.base64().check(z.minLength(4), z.maxLength(Math.ceil(maxBytes / 3) * 4));

const InstantSchema = z.object({
  /** Milliseconds since the epoch, by the author's clock. */
  ms: z.int().check(z.gte(0)),
  counter: z.int().check(z.gte(0), z.lte(MAX_COUNTER)),
});

export const StampSchema = z.object({ ...InstantSchema.shape, clientId: z.uuid() });

/** Deletes the whole unit, as far as its author had seen it. */
const Delete = z.object({ type: z.literal("DELETE") });

export const RegisterPayload = z.discriminatedUnion("type", [
  z.object({ type: z.literal("SET"), value: Value }),
  Delete,
]);
export type RegisterPayload = z.infer<typeof RegisterPayload>;

export const ExtremumPayload = z.object({ type: z.literal("SET"), value: z.number() });
export type ExtremumPayload = z.infer<typeof ExtremumPayload>;

/** The largest step of a counter: millions of them fit within the safe integers. */
const MAX_DELTA = 1_000_000_000;

export const CounterPayload = z.object({
  type: z.literal("ADD"),
  delta: z.int().check(z.gte(-MAX_DELTA), z.lte(MAX_DELTA)),
});
export type CounterPayload = z.infer<typeof CounterPayload>;

export const SetPayload = z.discriminatedUnion("type", [
  z.object({ type: z.enum(["ADD", "REMOVE"]), element: Name }),
  Delete,
]);
export type SetPayload = z.infer<typeof SetPayload>;

export const MapPayload = z.discriminatedUnion("type", [
  z.object({ type: z.literal("SET"), name: Name, value: Value }),
  z.object({ type: z.literal("UNSET"), name: Name }),
  Delete,
]);
export type MapPayload = z.infer<typeof MapPayload>;

export const ListPayload = z.discriminatedUnion("type", [
  z.object({ type: z.literal("INSERT"), id: Name, value: Value, position: Position }),
  z.object({ type: z.literal("MOVE"), id: Name, position: Position }),
  z.object({ type: z.literal("SET"), id: Name, value: Value }),
  z.object({ type: z.literal("REMOVE"), id: Name }),
  Delete,
]);
export type ListPayload = z.infer<typeof ListPayload>;

/** An upper bound that normal use never reaches: a broken client must not exhaust the number for others. */
export const MAX_GENERATION = 1_000_000_000;
const Generation = z.int().check(z.gte(0), z.lte(MAX_GENERATION));

export const PROGRESS_INTENTS = ["PLAY", "SEEK", "PAUSE", "FINISH", "PASSIVE"] as const;
/** SECONDS of a film; PARTS of anything else: pages of a book, or 0 to 1 of the whole. */
export const PROGRESS_UNITS = ["SECONDS", "PARTS"] as const;

/**
 * The fence of the author's lease on the item; absent when the author holds none and is judged by stamps alone. After a
 * take-over the previous holder still sends its older fence.
 */
const Fence = z.exactOptional(Generation);

export const ProgressPayload = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("REPORT"),
    epoch: Generation,
    position: z.number().check(z.gte(0)),
    /** The total, in the same unit; null when unknown. */
    duration: z.nullable(z.number().check(z.gte(0))),
    unit: z.enum(PROGRESS_UNITS),
    intent: z.enum(PROGRESS_INTENTS),
    fence: Fence,
  }),
  /** Starts over: `epoch` is the last seen epoch plus one. */
  z.object({ type: z.literal("RESTART"), epoch: Generation, fence: Fence }),
]);
export type ProgressPayload = z.infer<typeof ProgressPayload>;

export const DraftPayload = z.discriminatedUnion("type", [
  z.object({ type: z.literal("EDIT"), generation: Generation, name: Name, value: Value }),
  /**
   * Submitted. `idempotencyKey` is the key under which the application sends it, so that two devices do not send it
   * twice.
   */
  z.object({ type: z.literal("SUBMIT"), generation: Generation, idempotencyKey: z.nullable(Name) }),
  z.object({ type: z.literal("DISCARD"), generation: Generation }),
  z.object({ type: z.literal("DISMISS_COPY"), copy: StampSchema }),
]);
export type DraftPayload = z.infer<typeof DraftPayload>;

export const TextPayload = z.discriminatedUnion("type", [
  /** A Yjs update, version 2 of its encoding. */
  z.object({ type: z.literal("UPDATE"), generation: Generation, update: base64(MAX_VALUE_BYTES) }),
  /** Ends this text: the next update starts an empty one in the next generation. */
  z.object({ type: z.literal("RESET"), generation: Generation }),
]);
export type TextPayload = z.infer<typeof TextPayload>;

const OpaqueValue = z.object({
  /** The version of the key; a reader without that version waits for it. */
  keyVersion: z.int().check(z.gte(0)),
  nonce: base64(24),
  ciphertext: base64(MAX_VALUE_BYTES - 1024),
  /** The author's own stamp, part of the data that the ciphertext is bound to. */
  sealedAt: InstantSchema,
});

export const OpaquePayload = z.discriminatedUnion("type", [
  z.object({ type: z.literal("SET"), value: OpaqueValue }),
  Delete,
]);
export type OpaquePayload = z.infer<typeof OpaquePayload>;

/** The payload schema of each kind. */
export const PAYLOADS = {
  REGISTER: RegisterPayload,
  MAX: ExtremumPayload,
  MIN: ExtremumPayload,
  COUNTER: CounterPayload,
  SET: SetPayload,
  MAP: MapPayload,
  LIST: ListPayload,
  PROGRESS: ProgressPayload,
  DRAFT: DraftPayload,
  TEXT: TextPayload,
  OPAQUE: OpaquePayload,
} as const satisfies Record<KindName, z.ZodMiniType>;

export type Payload<Name extends KindName> = z.infer<(typeof PAYLOADS)[Name]>;
