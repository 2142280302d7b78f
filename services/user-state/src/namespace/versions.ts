/**
 * Versions of a namespace side by side. A unit is stored under its field's first name, so it remains one unit whatever
 * the field is called later; what was written under an older version is lifted to the newest when it is read or merged.
 */
import type { Json, KindName } from "@continuo/merge";
import { fieldOf, lensFor, liftPayload, liftState, type FieldDefinition } from "@continuo/namespace";
import type { Namespace, Revision } from "./namespace.ts";
import { faultIn } from "./schema.ts";

/** Why a change is refused for good. */
export interface Fault {
  readonly reason: "SCHEMA_VERSION_UNKNOWN" | "FIELD_UNKNOWN" | "VALUE_INVALID";
  readonly message: string;
}

/** A payload parsed by `parsePayload`. */
interface Payload {
  readonly type: string;
  readonly name?: string;
  readonly value?: Json;
  readonly element?: string;
}

/**
 * Why `field` of that version does not take `payload`, with the path of the fault; undefined when it does. `version`
 * defaults to the newest.
 */
export function validate(
  namespace: Namespace,
  field: string,
  payload: Payload,
  version = namespace.version,
): Fault | undefined {
  const revision = revisionOf(namespace, version);
  if (revision === undefined)
    return {
      reason: "SCHEMA_VERSION_UNKNOWN",
      message: `The newest version of ${namespace.name} is ${namespace.version}.`,
    };
  const definition = fieldOf(revision.definition, field);
  if (definition === undefined)
    return { reason: "FIELD_UNKNOWN", message: `${namespace.name} has no such field in version ${version}.` };
  const value = describedIn(definition.kind, payload);
  const fault = value === undefined ? undefined : faultIn(definition, value);
  return fault && { reason: "VALUE_INVALID", message: `${field}${fault.path} ${fault.why}.` };
}

/**
 * Lifts a change to the newest version and to its unit's stored name; undefined when that version has no place for it.
 * `change` was valid under its own version.
 */
export function liftChange<
  Made extends { readonly field: string; readonly payload: Json; readonly schemaVersion: number },
>(namespace: Namespace, change: Made): Made | undefined {
  const field = storedName(namespace, change.field, change.schemaVersion);
  const way = liftPath(namespace, field, change.schemaVersion);
  if (way === undefined) return undefined;
  let payload: Json | undefined = change.payload;
  for (const { lens, before, after } of way.steps) {
    payload = liftPayload(before.kind, payload, lens, takenBy(after));
    if (payload === undefined) return undefined;
  }
  return { ...change, field, payload, schemaVersion: namespace.version };
}

/** A unit as it is stored. */
export interface StoredUnit {
  /** The stored name of the field. */
  readonly field: string;
  readonly state: Json;
  readonly schemaVersion: number;
}

/**
 * Lifts a unit to the newest version: its field's name there, and its state; undefined when that version does not show
 * it.
 */
export function liftUnit(namespace: Namespace, unit: StoredUnit): { field: string; state: Json } | undefined {
  const way = liftPath(namespace, unit.field, unit.schemaVersion);
  if (way === undefined) return undefined;
  const state = way.steps.reduce(
    (held, { lens, before, after }) => liftState(before.kind, held, lens, takenBy(after)),
    unit.state,
  );
  return { field: way.name, state };
}

interface Step {
  readonly lens: ReturnType<typeof lensFor>;
  readonly before: FieldDefinition;
  readonly after: FieldDefinition;
}

/**
 * The lens steps from a version to the newest for the field stored as `stored`; undefined when the field was dropped.
 */
function liftPath(
  namespace: Namespace,
  stored: string,
  from: number,
): { name: string; steps: readonly Step[] } | undefined {
  let name = stored;
  const steps: Step[] = [];
  let previous: Revision | undefined;
  for (const revision of namespace.lineage) {
    const lens = lensFor(revision.definition.lens, name);
    if (lens.field === undefined) return undefined;
    const before = previous && fieldOf(previous.definition, name);
    const after = fieldOf(revision.definition, lens.field);
    if (revision.definition.version > from && before !== undefined && after !== undefined)
      steps.push({ lens, before, after });
    name = lens.field;
    previous = revision;
  }
  return fieldOf(namespace.definition, name) === undefined ? undefined : { name, steps };
}

/** The stored name of `field`: the first name of the field that was called `field` in `version`. */
export function storedName({ lineage }: Namespace, field: string, version: number): string {
  let name = field;
  for (const { definition } of lineage.toReversed()) {
    if (definition.version > version) continue;
    for (const step of definition.lens.toReversed())
      if (step.step === "RENAME" && step.path.length === 0 && step.to === name) name = step.field;
  }
  return name;
}

function revisionOf({ lineage }: Namespace, version: number): Revision | undefined {
  return lineage.find(({ definition }) => definition.version === version);
}

function takenBy(field: FieldDefinition): (value: Json) => boolean {
  return (value) => faultIn(field, value) === undefined;
}

/** The part of a payload that the field's schema describes; undefined when the change carries none. */
function describedIn(kind: KindName, { type, name, value, element }: Payload): Json | undefined {
  switch (kind) {
    case "REGISTER":
    case "MAX":
    case "MIN":
    case "LIST":
      return value;
    case "MAP":
    case "DRAFT":
      return name === undefined || value === undefined ? undefined : { [name]: value };
    case "SET":
      // An element that was once accepted can always be removed.
      return type === "ADD" ? element : undefined;
    case "COUNTER":
    case "PROGRESS":
    case "TEXT":
    case "OPAQUE":
      return undefined;
  }
}
