/** For tests: schemas such as applications write, and values for them. */
import type { Json } from "@continuo/merge";
import fc from "fast-check";
import type { JsonSchema } from "./json-schema.ts";

const NAMES = ["a", "b", "c"];
const WORDS = ["x", "yy", "zzz"];

const numbers: fc.Arbitrary<JsonSchema> = fc
  .record(
    {
      minimum: fc.integer({ min: -3, max: 3 }),
      exclusiveMaximum: fc.integer({ min: -3, max: 5 }),
      maximum: fc.integer({ min: -3, max: 5 }),
    },
    { requiredKeys: [] },
  )
  .chain((bounds) => fc.constantFrom("integer", "number").map((type) => ({ type, ...bounds })));

const texts: fc.Arbitrary<JsonSchema> = fc
  .record({ minLength: fc.nat(3), maxLength: fc.nat(4), pattern: fc.constantFrom("^x", "y") }, { requiredKeys: [] })
  .map((bounds) => ({ type: "string", ...bounds }));

/** Any value of a small world, so that schemas meet what they take and what they do not. */
export const values: fc.Arbitrary<Json> = fc.letrec<{ value: Json }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.constantFrom<Json>(null, true, false, -2, 0, 0.5, 1, 4, "", ...WORDS),
    fc.array(tie("value"), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom(...NAMES), tie("value"), { maxKeys: 3, noNullPrototype: true }),
  ),
})).value;

export const schemas: fc.Arbitrary<JsonSchema> = fc.letrec<{ schema: JsonSchema; object: JsonSchema }>((tie) => ({
  schema: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.constantFrom<JsonSchema>({}, { type: "null" }, { type: "boolean" }, { type: ["string", "null"] }),
    numbers,
    texts,
    fc
      .uniqueArray(fc.constantFrom<Json>(...WORDS, 0, 1, null), { minLength: 1, maxLength: 3 })
      .map((all) => ({ enum: all })),
    fc.constantFrom(...WORDS).map((value) => ({ const: value })),
    tie("object"),
    fc.array(tie("schema"), { minLength: 1, maxLength: 3 }).map((anyOf) => ({ anyOf })),
    fc.array(tie("schema"), { minLength: 1, maxLength: 2 }).map((allOf) => ({ allOf })),
    fc
      .record({ items: tie("schema"), minItems: fc.nat(2), maxItems: fc.nat(3) }, { requiredKeys: [] })
      .map((bounds) => ({ type: "array", ...bounds })),
  ),
  object: fc
    .record(
      {
        properties: fc.dictionary(fc.constantFrom(...NAMES), tie("schema"), { maxKeys: 3, noNullPrototype: true }),
        required: fc.uniqueArray(fc.constantFrom(...NAMES), { maxLength: 2 }),
        additionalProperties: fc.oneof(fc.boolean(), tie("schema")),
      },
      { requiredKeys: ["properties"] },
    )
    .map((object) => ({ type: "object", ...object })),
})).schema;

/** A schema and one that often takes all that it took: a part of it was changed. */
export const pairs: fc.Arbitrary<readonly [JsonSchema, JsonSchema]> = fc.oneof(
  fc.tuple(schemas, schemas),
  schemas.map((one) => [objectOf({ a: one }), { ...objectOf({ a: one }), required: ["a"] }] as const),
  fc.tuple(schemas, schemas).map(([one, other]) => [one, { anyOf: [other, one] }] as const),
  fc.tuple(schemas, schemas).map(([one, other]) => [{ allOf: [one, other] }, one] as const),
  fc
    .tuple(schemas, schemas, fc.constantFrom(...NAMES))
    .map(([one, other, name]) => [objectOf({}), objectOf({ own: one, [name]: other })] as const),
  fc
    .tuple(schemas, schemas)
    .map(([one, other]) => [objectOf({ a: one, b: other }), objectOf({ a: one }, other)] as const),
);

function objectOf(properties: JsonSchema, additionalProperties: Json = false): JsonSchema {
  return { type: "object", properties, additionalProperties };
}
