/**
 * The state of a unit as it is stored and sent to replicas, by kind: schema and type together. Only the kinds create
 * it.
 */
import * as z from "zod/mini";
import { isJson, type Json } from "./json.ts";
import type { KindName } from "./kind.ts";
import { PROGRESS_INTENTS, PROGRESS_UNITS, StampSchema } from "./payload.ts";

const Value = z.custom<Json>((value) => isJson(value), { error: "expected JSON" });
const Rev = z.int().check(z.gte(0));
const Generation = z.int().check(z.gte(0));
const write = { value: Value, deleted: z.boolean(), stamp: StampSchema };
const Write = z.readonly(z.object(write));
const Sibling = z.readonly(z.object({ ...write, rev: Rev }));

const array = <Schema extends z.ZodMiniType>(schema: Schema) => z.readonly(z.array(schema));

export const RegisterState = z.readonly(
  z.object({
    /** The write that stands. */
    standing: z.nullable(Write),
    /** Unseen writes that lost, latest first, at most HISTORY_LENGTH. */
    history: array(Write),
  }),
);
export type RegisterState = z.infer<typeof RegisterState>;

export const ExtremumState = z.readonly(
  z.object({ standing: z.nullable(z.readonly(z.object({ value: z.number(), stamp: StampSchema }))) }),
);
export type ExtremumState = z.infer<typeof ExtremumState>;

export const CounterState = z.readonly(z.object({ value: z.int() }));
export type CounterState = z.infer<typeof CounterState>;

export const SetState = z.readonly(
  z.object({
    /** In order of name. */
    elements: array(
      z.readonly(
        z.object({
          name: z.string(),
          /** Concurrent additions, in order of stamp; never empty. */
          additions: array(z.readonly(z.object({ stamp: StampSchema, rev: Rev }))),
        }),
      ),
    ),
  }),
);
export type SetState = z.infer<typeof SetState>;

/** Registers in order of name; each holds its concurrent writes, latest first. */
const Registers = array(z.readonly(z.object({ name: z.string(), writes: array(Sibling) })));

export const MapState = z.readonly(z.object({ members: Registers }));
export type MapState = z.infer<typeof MapState>;

export const ListState = z.readonly(
  z.object({
    /** In order of id, then latest first. */
    insertions: array(
      z.readonly(
        z.object({
          id: z.string(),
          value: z.readonly(z.object({ value: Value, stamp: StampSchema })),
          position: z.readonly(z.object({ value: z.string(), stamp: StampSchema })),
          /** The stamp of the insertion itself. */
          stamp: StampSchema,
          rev: Rev,
        }),
      ),
    ),
  }),
);
export type ListState = z.infer<typeof ListState>;

export const Report = z.readonly(
  z.object({
    deviceId: z.string(),
    position: z.number(),
    duration: z.nullable(z.number()),
    unit: z.enum(PROGRESS_UNITS),
    intent: z.enum(PROGRESS_INTENTS),
    stamp: StampSchema,
    rev: Rev,
    /** The revision that the author had read when making the report. */
    baseRev: Rev,
  }),
);
export type Report = z.infer<typeof Report>;

export const ProgressState = z.readonly(
  z.object({
    epoch: Generation,
    /** In order of deviceId, at most MAX_DEVICES, all of this epoch. */
    devices: array(
      z.readonly(
        z.object({
          deviceId: z.string(),
          /** The latest report from this device. */
          latest: Report,
          /** The latest report of an action on it. */
          intended: z.nullable(Report),
        }),
      ),
    ),
    furthest: z.nullable(Report),
    /** The fence of the last take-over from another device; absent when there never was one. */
    fence: z.exactOptional(Generation),
  }),
);
export type ProgressState = z.infer<typeof ProgressState>;

export const DraftState = z.readonly(
  z.object({
    generation: Generation,
    fields: Registers,
    /** How the previous generation ended. */
    ended: z.nullable(
      z.readonly(
        z.object({
          generation: Generation,
          how: z.enum(["SUBMITTED", "DISCARDED"]),
          idempotencyKey: z.nullable(z.string()),
          stamp: StampSchema,
          deviceId: z.string(),
        }),
      ),
    ),
    /** Latest first. */
    copies: array(
      z.readonly(z.object({ generation: Generation, name: z.string(), value: z.string(), stamp: StampSchema })),
    ),
  }),
);
export type DraftState = z.infer<typeof DraftState>;

export const TextState = z.readonly(
  z.object({
    generation: Generation,
    /** The compacted document: a Yjs update (version 2 encoding) in base64; null while there is none. */
    document: z.nullable(z.string()),
    /** Updates since then, in the order of their revisions. */
    updates: array(z.string()),
  }),
);
export type TextState = z.infer<typeof TextState>;

/** The state of each kind. */
export const STATES = {
  REGISTER: RegisterState,
  MAX: ExtremumState,
  MIN: ExtremumState,
  COUNTER: CounterState,
  SET: SetState,
  MAP: MapState,
  LIST: ListState,
  PROGRESS: ProgressState,
  DRAFT: DraftState,
  TEXT: TextState,
  OPAQUE: RegisterState,
} as const satisfies Record<KindName, z.ZodMiniType>;

export type State<Name extends KindName> = z.infer<(typeof STATES)[Name]>;
