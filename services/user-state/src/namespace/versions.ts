/**
 * Versions of a namespace side by side. A unit is stored under the name that its field had first, so that it stays one
 * unit whatever it is called; what was written under an older version is lifted to the newest when it is read or met.
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

/** What an op asks for, parsed by `parsePayload`. */
interface Payload {
  readonly type: string;
  readonly name?: string;
  readonly value?: Json;
  readonly element?: string;
}

/**
 * Why `payload` is not for `field` of that version, with the path of what is wrong in it; undefined when it is.
 * `version` is the newest unless said otherwise.
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
 * A change as it is to be made: of the newest version, under the name that its unit is stored by; undefined when that
 * version has no place for it. `change` was valid under its own.
 */
export function liftChange<
  Made extends { readonly field: string; readonly payload: Json; readonly schemaVersion: number },
>(namespace: Namespace, change: Made): Made | undefined {
  const field = storedName(namespace, change.field, change.schemaVersion);
  const way = wayOf(namespace, field, change.schemaVersion);
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
  /** The name it is stored by. */
  readonly field: string;
  readonly state: Json;
  readonly schemaVersion: number;
}

/** A unit under the newest version: its name there and its state; undefined when it is shown no more. */
export function liftUnit(namespace: Namespace, unit: StoredUnit): { field: string; state: Json } | undefined {
  const way = wayOf(namespace, unit.field, unit.schemaVersion);
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

/** What lies between a version and the newest, for the field that is stored as `stored`; undefined when it leads nowhere. */
function wayOf(
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

/** The name that the unit of `field` is stored by: the first one of what was called that in `version`. */
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

/** What the field's schema speaks of; undefined when the change brings nothing of the kind. */
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
      // What was taken once can be taken away for ever.
      return type === "ADD" ? element : undefined;
    case "COUNTER":
    case "PROGRESS":
    case "TEXT":
    case "OPAQUE":
      return undefined;
  }
}
