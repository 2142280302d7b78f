/** For application authors: defines a namespace in code, with zod, and returns the JSON to publish. */
import type { Json, KindName, ResumePolicy } from "@continuo/merge";
import * as z from "zod/mini";
import { NamespaceDefinition, type FieldDefinition, type Persistence } from "./definition.ts";
import { canonical, isSchema, type JsonSchema } from "./json-schema.ts";
import type { LensStep } from "./lens.ts";

type Schema = z.core.$ZodType;

export interface NamespaceOptions {
  readonly name: string;
  readonly version: number;
  /** By name; `*` stands for all others. */
  readonly fields: Readonly<Record<string, FieldDefinition>>;
  /** Which report wins when devices disagree about progress; LATEST_INTENT by default. */
  readonly policy?: { readonly resume?: ResumePolicy };
  /** DURABLE by default. */
  readonly persistence?: Persistence;
  /** For TTL: how long a unit lives after its last change. */
  readonly ttlSeconds?: number;
  /** Per person; 5 MiB and 5,000 entries by default. */
  readonly quota?: { readonly bytes?: number; readonly entries?: number };
  /** The oldest version whose clients may still push; 1 by default. */
  readonly minClientVersion?: number;
  /** How entries of the previous version are read. */
  readonly lens?: readonly z.input<typeof LensStep>[];
}

/**
 * Returns the definition as JSON to publish: `npm run continuo-state -- namespaces publish <file>`. Throws ZodError if
 * it is invalid.
 */
export function defineNamespace(options: NamespaceOptions): NamespaceDefinition {
  const { policy, quota, persistence = "DURABLE", ttlSeconds = null, minClientVersion = 1, lens = [] } = options;
  return z.parse(NamespaceDefinition, {
    ...options,
    policy: { resume: policy?.resume ?? "LATEST_INTENT" },
    persistence,
    ttlSeconds,
    quota: { bytes: quota?.bytes ?? 5 * 1024 * 1024, entries: quota?.entries ?? 5_000 },
    minClientVersion,
    lens,
  });
}

/** One value; the later write wins. */
export const register = (value: Schema): FieldDefinition => described("REGISTER", value);
/** The largest number wins. */
export const max = (value: Schema = z.number()): FieldDefinition => described("MAX", value);
/** The smallest number wins. */
export const min = (value: Schema = z.number()): FieldDefinition => described("MIN", value);
/** A sum of deltas. */
export const counter = (): FieldDefinition => ({ kind: "COUNTER", schema: {} });
/** A set of strings. */
export const set = (element: Schema = z.string()): FieldDefinition => described("SET", element);
/** Members by name, each a register, described by an object or a record. Any member may be missing. */
export const map = (members: Schema): FieldDefinition => ofMembers("MAP", members);
/** An ordered list of elements. */
export const list = (element: Schema): FieldDefinition => described("LIST", element);
/** Progress through a film or a book, per device. */
export const progress = (): FieldDefinition => ({ kind: "PROGRESS", schema: {} });
/**
 * Work that is edited and then submitted or discarded, described by an object of its fields, any of which may be
 * missing.
 */
export const draft = (fields: Schema): FieldDefinition => ofMembers("DRAFT", fields);
/** Long text that several devices edit concurrently. */
export const text = (): FieldDefinition => ({ kind: "TEXT", schema: {} });
/** Sealed by a device (with `packages/encryption`, or the application's own way): the server cannot read it. */
export const opaque = (): FieldDefinition => ({ kind: "OPAQUE", schema: {} });

/**
 * Converts a zod schema to JSON Schema. Throws for what JSON Schema cannot express (transforms, dates, bigints).
 * Refinements are lost silently: they hold only in the application.
 */
function described(kind: KindName, schema: Schema): FieldDefinition {
  const {
    $schema: _,
    "~standard": __,
    ...made
  } = z.toJSONSchema(schema, {
    override: ({ jsonSchema }) => {
      // The discriminator already makes the alternatives exclusive.
      if (jsonSchema.oneOf === undefined) return;
      jsonSchema.anyOf = jsonSchema.oneOf;
      delete jsonSchema.oneOf;
    },
  });
  const plain: Json = JSON.parse(JSON.stringify(made));
  if (!isSchema(plain)) throw new TypeError("a schema is an object");
  return { kind, schema: canonical(plain) === canonical(anyJson()) ? {} : plain };
}

function ofMembers(kind: KindName, schema: Schema): FieldDefinition {
  const { required: _, ...members } = described(kind, schema).schema;
  return { kind, schema: members };
}

/** The schema of `z.json()`, which constrains nothing: every incoming value is JSON. */
function anyJson(): JsonSchema {
  const { $schema: _, "~standard": __, ...made } = z.toJSONSchema(z.json());
  return JSON.parse(JSON.stringify(made));
}
