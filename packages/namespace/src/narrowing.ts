/**
 * Whether one JSON Schema accepts everything that another accepted, as far as that can be proven. What cannot be proven
 * counts as narrower, so valid data never becomes invalid unnoticed.
 */
import type { Json } from "@continuo/merge";
import {
  canonical,
  constraintsOf,
  isSchema,
  propertiesOf,
  requiredOf,
  resolveReference,
  type JsonSchema,
} from "./json-schema.ts";

/** Whether `value` is valid under `schema`, as a validator says. */
export type Fits = (schema: JsonSchema, value: Json) => boolean;

export interface Narrowing {
  /** `address.street`, `tags[]`. */
  readonly path: string;
  /** `… is no longer taken`. */
  readonly why: string;
}

interface Comparison {
  readonly before: JsonSchema;
  readonly after: JsonSchema;
  readonly fits: Fits;
  /** Pairs being compared in an enclosing call: schemas may be recursive. */
  readonly assumed: ReadonlySet<string>;
}

/** Every way in which `after` accepts less than `before`; `path` is their location. */
export function narrowings(before: JsonSchema, after: JsonSchema, path: string, fits: Fits): readonly Narrowing[] {
  return compare(before, after, path, { before, after, fits, assumed: new Set() });
}

function compare(old: Json, next: Json, path: string, within: Comparison): readonly Narrowing[] {
  if (old === false || next === true) return [];
  if (next === false) return [{ path, why: "is no longer taken" }];
  const was = split(isSchema(old) ? constraintsOf(old) : {});
  const is = split(isSchema(next) ? constraintsOf(next) : {});
  if (Object.keys(is).length === 0) return [];

  const pair = `${canonical(was)} ${canonical(is)}`;
  if (within.assumed.has(pair)) return [];
  const inner = { ...within, assumed: new Set([...within.assumed, pair]) };

  if (is["$ref"] !== undefined) {
    const { $ref, ...rest } = is;
    const target = resolveReference(within.after, $ref);
    if (target === undefined) return [{ path, why: "refers to a schema that is not there" }];
    return [...compare(was, target, path, inner), ...compare(was, rest, path, inner)];
  }
  const { allOf, ...others } = is;
  if (Array.isArray(allOf))
    return [...allOf.flatMap((part) => compare(was, part, path, inner)), ...compare(was, others, path, inner)];

  const values = was["const"] === undefined ? was["enum"] : [was["const"]];
  if (Array.isArray(values))
    return values
      .filter((value) => !fitsWithin(is, value, within))
      .map((value) => ({ path, why: `no longer takes ${JSON.stringify(value)}` }));

  // Each part alone accepts at least what `was` did, so covering one of them is enough.
  const wholes = partsOf(was, within.before);
  if (wholes !== undefined) {
    const found = wholes.map((branches) => branches.flatMap((branch) => compare(branch, is, path, inner)));
    return fewest(found);
  }
  if (Array.isArray(is["anyOf"])) {
    const { anyOf, ...rest } = is;
    return [...fewest(anyOf.map((branch) => compare(was, branch, path, inner))), ...compare(was, rest, path, inner)];
  }
  return Object.keys(is).flatMap((keyword) => byKeyword(keyword, was, is, path, inner));
}

/** Turns a list of types into a choice of schemas. */
function split(schema: JsonSchema): JsonSchema {
  const { type, ...rest } = schema;
  return Array.isArray(type) ? { allOf: [{ anyOf: type.map((one) => ({ ...rest, type: one })) }] } : schema;
}

/** The parts of a schema as choices of simpler ones; undefined for a simple schema. */
function partsOf(was: JsonSchema, root: JsonSchema): readonly (readonly Json[])[] | undefined {
  const { $ref, allOf, anyOf, ...rest } = was;
  if ($ref === undefined && allOf === undefined && anyOf === undefined) return undefined;
  const parts: (readonly Json[])[] = [];
  if ($ref !== undefined) parts.push([resolveReference(root, $ref) ?? true]);
  if (Array.isArray(allOf)) parts.push(...allOf.map((part) => [part]));
  if (Array.isArray(anyOf)) parts.push(anyOf);
  if (Object.keys(rest).length > 0) parts.push([rest]);
  return parts;
}

function fewest(found: readonly (readonly Narrowing[])[]): readonly Narrowing[] {
  return found.toSorted((one, other) => one.length - other.length)[0] ?? [];
}

function fitsWithin(schema: JsonSchema, value: Json, { after, fits }: Comparison): boolean {
  const text = canonical(schema);
  if (text.includes('"$ref":"#"')) return false;
  return fits(after["$defs"] === undefined ? schema : { ...schema, $defs: after["$defs"] }, value);
}

const LOWER = ["minLength", "minItems", "minProperties"];
const UPPER = ["maxLength", "maxItems", "maxProperties"];

function byKeyword(
  keyword: string,
  was: JsonSchema,
  is: JsonSchema,
  path: string,
  within: Comparison,
): readonly Narrowing[] {
  const [old, next] = [was[keyword], is[keyword]];
  const narrower = (why: string): readonly Narrowing[] => [{ path, why }];
  if (next === undefined) return [];
  switch (keyword) {
    case "type":
      if (old === next || (old === "integer" && next === "number")) return [];
      return narrower(`takes only ${text(next)}, was ${old === undefined ? "anything" : text(old)}`);
    case "const":
    case "enum":
      return narrower(`takes only ${text(next)}, was more`);
    case "minimum":
    case "exclusiveMinimum":
      return isAtLeast(was, keyword, next) ? [] : narrower(`takes nothing below ${text(next)} any more`);
    case "maximum":
    case "exclusiveMaximum":
      return isAtMost(was, keyword, next) ? [] : narrower(`takes nothing above ${text(next)} any more`);
    case "properties":
      return Object.entries(propertiesOf(is)).flatMap(([name, schema]) =>
        compare(memberOf(was, name), schema, join(path, name), within),
      );
    case "additionalProperties": {
      const named = Object.keys(propertiesOf(was)).filter((name) => !Object.hasOwn(propertiesOf(is), name));
      return [
        ...named.flatMap((name) => compare(memberOf(was, name), next, join(path, name), within)),
        ...compare(was["additionalProperties"] ?? true, next, join(path, "*"), within),
      ];
    }
    case "required":
      return requiredOf(is)
        .filter((name) => !requiredOf(was).includes(name))
        .map((name) => ({ path: join(path, name), why: "must be there now" }));
    case "propertyNames":
      return compare(old ?? { type: "string" }, next, `${path}.(names)`, within);
    case "prefixItems":
      return old !== undefined && canonical(old) === canonical(next) ? [] : narrower("is another tuple");
    case "items":
      if (canonical(was["prefixItems"] ?? null) !== canonical(is["prefixItems"] ?? null))
        return narrower("is another tuple");
      return compare(old ?? true, next, `${path}[]`, within);
    default:
      if (old !== undefined && canonical(old) === canonical(next)) return [];
      if (isBound(LOWER, keyword, old, next) && Number(old) >= Number(next)) return [];
      if (isBound(UPPER, keyword, old, next) && Number(old) <= Number(next)) return [];
      return narrower(`has another ${keyword}: ${text(next)}${old === undefined ? "" : `, was ${text(old)}`}`);
  }
}

function isBound(keywords: readonly string[], keyword: string, old: Json | undefined, next: Json): boolean {
  return keywords.includes(keyword) && typeof old === "number" && typeof next === "number";
}

/** The schema of an object's member `name`. */
function memberOf(was: JsonSchema, name: string): Json {
  // Patterns may accept members that neither `properties` nor `additionalProperties` does.
  if (was["patternProperties"] !== undefined) return true;
  const properties = propertiesOf(was);
  return (Object.hasOwn(properties, name) ? properties[name] : was["additionalProperties"]) ?? true;
}

function isAtLeast({ minimum, exclusiveMinimum }: JsonSchema, keyword: string, bound: Json): boolean {
  if (typeof bound !== "number") return false;
  if (typeof exclusiveMinimum === "number" && exclusiveMinimum >= bound) return true;
  if (typeof minimum !== "number") return false;
  return keyword === "minimum" ? minimum >= bound : minimum > bound;
}

function isAtMost({ maximum, exclusiveMaximum }: JsonSchema, keyword: string, bound: Json): boolean {
  if (typeof bound !== "number") return false;
  if (typeof exclusiveMaximum === "number" && exclusiveMaximum <= bound) return true;
  if (typeof maximum !== "number") return false;
  return keyword === "maximum" ? maximum <= bound : maximum < bound;
}

const join = (path: string, name: string): string => `${path}.${name}`;
const text = (value: Json): string => (typeof value === "string" ? value : JSON.stringify(value));
