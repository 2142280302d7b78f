/**
 * The definition of a namespace: plain JSON that declares how each of its fields merges, which values it takes, and how
 * long and how much is stored. Applications publish it. A published definition never changes; a change is a new
 * definition.
 */
import { isJson, isText, jsonBytes, KIND_NAMES, MAX_NAME_CHARACTERS, type KindName } from "@continuo/merge";
import * as z from "zod/mini";
import { isSchema, type JsonSchema } from "./json-schema.ts";
import { LensStep } from "./lens.ts";

/** DURABLE: until deleted. TTL: for `ttlSeconds` after the last change. RELAY: passed on live, never stored. NONE: stays on the device. */
export const PERSISTENCES = ["DURABLE", "TTL", "RELAY", "NONE"] as const;
export type Persistence = (typeof PERSISTENCES)[number];

/** See `ResumePolicy` of `@continuo/merge`. */
export const RESUME_POLICIES = ["LATEST_INTENT", "FURTHEST", "ASK"] as const;

/** The field that stands for all others. */
export const OTHERS = "*";

const MAX_DEFINITION_BYTES = 256 * 1024;
const MAX_TTL_SECONDS = 366 * 24 * 3_600;

const Version = z.int().check(z.gte(1), z.lte(1_000_000));
const FieldName = z
  .string()
  .check(z.minLength(1), z.maxLength(MAX_NAME_CHARACTERS), z.refine(isText, "expected text without NUL"));
const Schema = z.custom<JsonSchema>((value) => isJson(value) && isSchema(value), {
  error: "expected a JSON Schema: an object",
});

const FieldDefinition = z.strictObject({
  kind: z.enum(KIND_NAMES),
  /**
   * The schema of a value (REGISTER, MAX, MIN), of an element (SET, LIST), or of the object of all members, each of
   * which may be missing (MAP, DRAFT). Other kinds have a fixed shape: {}.
   */
  schema: Schema,
});
export type FieldDefinition = z.infer<typeof FieldDefinition>;

/** Kinds whose values an application describes. */
const DESCRIBED: readonly KindName[] = ["REGISTER", "MAX", "MIN", "SET", "LIST", "MAP", "DRAFT"];

export const NamespaceDefinition = z
  .strictObject({
    name: z.string().check(z.regex(/^[a-z][a-z0-9._-]{0,63}$/, "expected a name in lower case, at most 64 characters")),
    /** Raised when what old clients wrote, or would write, is no longer valid unchanged. */
    version: Version,
    fields: z
      .record(FieldName, FieldDefinition)
      .check(z.refine((fields) => Object.keys(fields).length > 0, "expected a field")),
    policy: z.strictObject({ resume: z.enum(RESUME_POLICIES) }),
    persistence: z.enum(PERSISTENCES),
    /** For TTL: counted from a unit's last change; null otherwise. */
    ttlSeconds: z.nullable(z.int().check(z.gte(1), z.lte(MAX_TTL_SECONDS))),
    /** What each person may store in it. */
    quota: z.strictObject({
      bytes: z.int().check(z.gte(1)),
      entries: z.int().check(z.gte(1), z.lte(2_147_483_647)),
    }),
    /** The oldest version whose clients may still push. */
    minClientVersion: Version,
    /** How entries of the previous version are read under this one. */
    lens: z.array(LensStep).check(z.maxLength(256)),
  })
  .check(
    z.refine(({ minClientVersion, version }) => minClientVersion <= version, {
      path: ["minClientVersion"],
      error: "expected at most the version itself",
    }),
    z.refine(({ persistence, ttlSeconds }) => (persistence === "TTL") === (ttlSeconds !== null), {
      path: ["ttlSeconds"],
      error: "expected seconds for TTL, and null for everything else",
    }),
    z.refine(({ fields }) => Object.values(fields).every(isDescribedAsItMay), {
      path: ["fields"],
      error: "expected the schema {} where a kind takes no values of the application",
    }),
    z.refine(({ version, lens }) => version > 1 || lens.length === 0, {
      path: ["lens"],
      error: "expected none: nothing was written before version 1",
    }),
    z.refine((definition) => jsonBytes(definition) <= MAX_DEFINITION_BYTES, {
      error: `expected at most ${MAX_DEFINITION_BYTES} bytes as JSON`,
    }),
  );
export type NamespaceDefinition = z.infer<typeof NamespaceDefinition>;

/** The definition of one field; undefined when there is no such field. */
export function fieldOf({ fields }: Pick<NamespaceDefinition, "fields">, field: string): FieldDefinition | undefined {
  if (field === OTHERS) return undefined;
  if (Object.hasOwn(fields, field)) return fields[field];
  return Object.hasOwn(fields, OTHERS) ? fields[OTHERS] : undefined;
}

function isDescribedAsItMay({ kind, schema }: FieldDefinition): boolean {
  return DESCRIBED.includes(kind) || Object.keys(schema).length === 0;
}
