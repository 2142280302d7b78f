/** For authors of applications: a namespace in code, with zod, and out comes what is published. */
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
  /** Whose word counts when devices disagree about progress. LATEST_INTENT unless said otherwise. */
  readonly policy?: { readonly resume?: ResumePolicy };
  /** DURABLE unless said otherwise. */
  readonly persistence?: Persistence;
  /** Of TTL: how long a unit lives after its last change. */
  readonly ttlSeconds?: number;
  /** Of each person. 5 MiB and 5,000 entries unless said otherwise. */
  readonly quota?: { readonly bytes?: number; readonly entries?: number };
  /** The oldest version whose clients may still push; 1 unless said otherwise. */
  readonly minClientVersion?: number;
  /** How what was written under the version before is read. */
  readonly lens?: readonly z.input<typeof LensStep>[];
}

/**
 * The definition, as JSON to publish: `npm run continuo-state -- namespaces publish <file>`. Throws ZodError for what no
 * definition may say.
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
/** A sum of steps. */
export const counter = (): FieldDefinition => ({ kind: "COUNTER", schema: {} });
/** Elements are texts. */
export const set = (element: Schema = z.string()): FieldDefinition => described("SET", element);
/** Members by name, a register each: an object, or a record, of what they hold. Any of them may be missing. */
export const map = (members: Schema): FieldDefinition => ofMembers("MAP", members);
/** Elements in an order. */
export const list = (element: Schema): FieldDefinition => described("LIST", element);
/** Where somebody is in a film or a book, device by device. */
export const progress = (): FieldDefinition => ({ kind: "PROGRESS", schema: {} });
/** What is written and then sent or discarded: an object of its fields, any of which may be missing. */
export const draft = (fields: Schema): FieldDefinition => ofMembers("DRAFT", fields);
/** Long text that several write at once. */
export const text = (): FieldDefinition => ({ kind: "TEXT", schema: {} });
/** Sealed by a device (`packages/encryption`, or an application's own way): nobody here can look into it. */
export const opaque = (): FieldDefinition => ({ kind: "OPAQUE", schema: {} });

/**
 * As JSON Schema. Throws for what it cannot say (transforms, dates, bigints). It cannot say refinements either: those
 * hold in the application alone.
 */
function described(kind: KindName, schema: Schema): FieldDefinition {
  const {
    $schema: _,
    "~standard": __,
    ...made
  } = z.toJSONSchema(schema, {
    override: ({ jsonSchema }) => {
      // A value is one of these by its discriminator, so that it never is two.
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

/** What `z.json()` becomes. Whatever comes in is JSON. */
function anyJson(): JsonSchema {
  const { $schema: _, "~standard": __, ...made } = z.toJSONSchema(z.json());
  return JSON.parse(JSON.stringify(made));
}
