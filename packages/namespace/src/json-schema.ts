/** JSON Schema as data: the parts that this package inspects. Validating values is the validator's job. */
import type { Json } from "@continuo/merge";

/** Draft 2020-12, without boolean schemas at the top level. */
export type JsonSchema = { readonly [keyword: string]: Json };

/** Keywords that do not affect which values are valid. */
const ANNOTATIONS = new Set([
  "$schema",
  "$id",
  "$comment",
  "$defs",
  "default",
  "deprecated",
  "description",
  "examples",
  "id",
  "readOnly",
  "title",
  "writeOnly",
]);

export function isSchema(value: Json | undefined): value is JsonSchema {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The constraints of a schema: everything but its annotations. */
export function constraintsOf(schema: JsonSchema): JsonSchema {
  return Object.fromEntries(Object.entries(schema).filter(([keyword]) => !ANNOTATIONS.has(keyword)));
}

/** The required members of an object. */
export function requiredOf(schema: JsonSchema): readonly string[] {
  const { required } = schema;
  return Array.isArray(required) ? required.filter((name): name is string => typeof name === "string") : [];
}

/** The schemas of an object's named members. */
export function propertiesOf(schema: JsonSchema): JsonSchema {
  return isSchema(schema["properties"]) ? schema["properties"] : {};
}

/** Resolves `$ref` within `root`; undefined when it is not found there. */
export function resolveReference(root: JsonSchema, reference: Json): Json | undefined {
  if (typeof reference !== "string" || !/^#(\/|$)/.test(reference)) return undefined;
  let found: Json | undefined = root;
  for (const part of reference.slice(2).split("/").filter(Boolean)) {
    const name = decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~");
    found = isSchema(found) && Object.hasOwn(found, name) ? found[name] : undefined;
  }
  return found;
}

/** JSON with sorted members, so that equal values give the same text. */
export function canonical(value: Json): string {
  return JSON.stringify(value, (_, member: Json) =>
    isSchema(member) ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1))) : member,
  );
}
