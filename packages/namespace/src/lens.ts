/**
 * A lens: declares, as data, how entries of one namespace version are read under the next. It runs no application code,
 * and reading changes nothing stored.
 */
import { isJson, MAX_NAME_CHARACTERS, type Json, type KindName, type Payload } from "@continuo/merge";
import { PAYLOADS, STATES } from "@continuo/merge/protocol";
import * as z from "zod/mini";
import { isSchema, propertiesOf, requiredOf, type JsonSchema } from "./json-schema.ts";

const Name = z.string().check(z.minLength(1), z.maxLength(MAX_NAME_CHARACTERS));
/**
 * The path of a member within a field's value (REGISTER), each element (LIST), or the object of all members (MAP,
 * DRAFT); [] is the field itself.
 */
const Path = z._default(z.array(Name).check(z.maxLength(32)), []);
const Value = z.custom<Json>((value) => isJson(value), { error: "expected JSON" });

/** Steps apply in order; `field` is the field's name at that point. */
export const LensStep = z.discriminatedUnion("step", [
  /** Renames a field or member. What is stored stays where it is. */
  z.strictObject({ step: z.literal("RENAME"), field: Name, path: Path, to: Name }),
  /** Hides a field or member. */
  z.strictObject({ step: z.literal("DROP"), field: Name, path: Path }),
  /**
   * For a member: its value where it is missing. For a field: the value shown in place of one that the new version does
   * not take.
   */
  z.strictObject({ step: z.literal("DEFAULT"), field: Name, path: Path, value: Value }),
]);
export type LensStep = z.infer<typeof LensStep>;

/** What a lens does with one field. */
export interface FieldLens {
  /** Its name under the new version; undefined when it is dropped. */
  readonly field: string | undefined;
  /** The steps for the field's values, in order. */
  readonly steps: readonly LensStep[];
  /** The value shown in place of one that the new version does not take. */
  readonly fallback: { readonly value: Json } | undefined;
}

/** The part of `lens` that applies to the field previously called `field`. */
export function lensFor(lens: readonly LensStep[], field: string): FieldLens {
  let name: string | undefined = field;
  let fallback: FieldLens["fallback"];
  const steps: LensStep[] = [];
  for (const step of lens) {
    if (step.field !== name) continue;
    if (step.path.length > 0) steps.push(step);
    else if (step.step === "RENAME") name = step.to;
    else if (step.step === "DROP") name = undefined;
    else fallback = { value: step.value };
  }
  return { field: name, steps, fallback };
}

/** Lifts one value to the new version, which accepts it if `takes` does; undefined when nothing is left. */
export function liftValue(lens: FieldLens, value: Json, takes: (value: Json) => boolean): Json | undefined {
  const lifted = lens.steps.reduce(
    (held, step) => along(held, step.path, (parent, name) => take(step, parent, name)),
    value,
  );
  return takes(lifted) ? lifted : lens.fallback?.value;
}

/**
 * Lifts a unit's state to the new version: every value in it is lifted, and values that are no longer taken are left
 * out.
 */
export function liftState(kind: KindName, state: Json, lens: FieldLens, takes: (value: Json) => boolean): Json {
  const lift = (value: Json): Json | undefined => liftValue(lens, value, takes);
  const liftMember = (name: string, write: { readonly value: Json; readonly deleted: boolean }) =>
    memberOf(write.deleted ? withoutTaking(lens, name) : lift({ [name]: write.value }), name);
  switch (kind) {
    case "REGISTER": {
      const { standing, history } = z.parse(STATES.REGISTER, state);
      const lifted = (write: NonNullable<typeof standing>) => {
        const value = write.deleted ? null : lift(write.value);
        return value === undefined ? [] : [{ ...write, value }];
      };
      return { standing: standing && (lifted(standing)[0] ?? null), history: history.flatMap(lifted) };
    }
    case "LIST": {
      const { insertions } = z.parse(STATES.LIST, state);
      return {
        insertions: insertions.flatMap((insertion) => {
          const value = lift(insertion.value.value);
          return value === undefined ? [] : [{ ...insertion, value: { ...insertion.value, value } }];
        }),
      };
    }
    case "MAP": {
      const { members } = z.parse(STATES.MAP, state);
      return { members: liftRegisters(members, liftMember) };
    }
    case "DRAFT": {
      const { fields, copies, ...rest } = z.parse(STATES.DRAFT, state);
      return {
        ...rest,
        fields: liftRegisters(fields, liftMember),
        copies: copies.filter(({ name }) => memberOf(withoutTaking(lens, name), name) !== undefined),
      };
    }
    case "MAX":
    case "MIN":
    case "COUNTER":
    case "SET":
    case "PROGRESS":
    case "TEXT":
    case "OPAQUE":
      return state;
  }
}

/** Lifts a change to the new version; undefined when nothing is left of it. `payload` has passed `parsePayload`. */
export function liftPayload(
  kind: KindName,
  payload: Json,
  lens: FieldLens,
  takes: (value: Json) => boolean,
): Json | undefined {
  const lift = (value: Json): Json | undefined => liftValue(lens, value, takes);
  switch (kind) {
    case "REGISTER":
    case "LIST": {
      const parsed: Payload<"REGISTER"> | Payload<"LIST"> = z.parse(
        PAYLOADS[kind === "LIST" ? "LIST" : "REGISTER"],
        payload,
      );
      if (!("value" in parsed)) return parsed;
      const value = lift(parsed.value);
      return value === undefined ? undefined : { ...parsed, value };
    }
    case "MAP":
    case "DRAFT": {
      const parsed: Payload<"MAP"> | Payload<"DRAFT"> = z.parse(PAYLOADS[kind === "MAP" ? "MAP" : "DRAFT"], payload);
      if (!("name" in parsed)) return parsed;
      const { name } = parsed;
      const value = memberOf("value" in parsed ? lift({ [name]: parsed.value }) : withoutTaking(lens, name), name);
      if (value === undefined) return undefined;
      return "value" in parsed ? { ...parsed, value } : parsed;
    }
    case "MAX":
    case "MIN":
    case "COUNTER":
    case "SET":
    case "PROGRESS":
    case "TEXT":
    case "OPAQUE":
      return payload;
  }
}

interface Register {
  readonly name: string;
  readonly writes: readonly { readonly value: Json; readonly deleted: boolean }[];
}

function liftRegisters<One extends Register>(
  registers: readonly One[],
  lift: (name: string, write: One["writes"][number]) => Json | undefined,
): readonly (Omit<One, "writes"> & { writes: One["writes"][number][] })[] {
  return registers.flatMap((register) => {
    const writes = register.writes.flatMap((write) => {
      const value = lift(register.name, write);
      return value === undefined ? [] : [{ ...write, value }];
    });
    return writes.length === 0 ? [] : [{ ...register, writes }];
  });
}

/** Lifts a member without a value: it stays or is dropped. */
function withoutTaking(lens: FieldLens, name: string): Json | undefined {
  return liftValue(lens, { [name]: null }, () => true);
}

function memberOf(object: Json | undefined, name: string): Json | undefined {
  return isSchema(object) && Object.hasOwn(object, name) ? object[name] : undefined;
}

type Members = { readonly [name: string]: Json };

/** Applies `change` to the object that holds the last member of `path`, if there is one. */
function along(value: Json, path: readonly string[], change: (parent: Members, name: string) => Members): Json {
  const [name, ...rest] = path;
  if (name === undefined || !isSchema(value)) return value;
  if (rest.length === 0) return change(value, name);
  const member = memberOf(value, name);
  return member === undefined ? value : { ...value, [name]: along(member, rest, change) };
}

function take(step: LensStep, parent: Members, name: string): Members {
  const isThere = Object.hasOwn(parent, name);
  if (step.step === "DEFAULT") return isThere ? parent : { ...parent, [name]: step.value };
  if (!isThere) return parent;
  const { [name]: moved = null, ...others } = parent;
  return step.step === "RENAME" ? { ...others, [step.to]: moved } : others;
}

/** The schema of values valid under `schema` after `step`, or why the step cannot be applied. */
export function liftSchema(schema: JsonSchema, step: LensStep, path = step.path): JsonSchema | string {
  const [name, ...rest] = path;
  if (name === undefined) return schema;
  const properties = propertiesOf(schema);
  if (
    schema["type"] !== "object" ||
    schema["anyOf"] !== undefined ||
    schema["allOf"] !== undefined ||
    schema["$ref"] !== undefined
  )
    return "leads through something else than a plain object";
  const property = Object.hasOwn(properties, name) ? properties[name] : undefined;
  if (rest.length > 0) {
    if (!isSchema(property)) return `there was no member ${name}`;
    const lifted = liftSchema(property, step, rest);
    return typeof lifted === "string" ? lifted : { ...schema, properties: { ...properties, [name]: lifted } };
  }
  const required = requiredOf(schema);
  const { [name]: _, ...others } = properties;
  if (step.step === "DEFAULT") {
    const before = property ?? schema["additionalProperties"] ?? true;
    const here = { const: step.value };
    const after = before === false ? here : required.includes(name) ? before : { anyOf: [before, here] };
    return {
      ...schema,
      properties: { ...properties, [name]: after },
      required: [...required.filter((each) => each !== name), name],
    };
  }
  if (property === undefined) return `there was no member ${name}`;
  if (step.step === "DROP")
    return { ...schema, properties: others, required: required.filter((each) => each !== name) };
  if (schema["additionalProperties"] !== false || Object.hasOwn(properties, step.to))
    return `a member ${step.to} may have been there before`;
  return {
    ...schema,
    properties: { ...others, [step.to]: property },
    required: required.map((each) => (each === name ? step.to : each)),
  };
}
