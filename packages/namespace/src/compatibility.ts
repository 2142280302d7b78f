/** What a new definition of a namespace changes, and whether what was valid stays valid. */
import type { Json } from "@continuo/merge";
import { fieldOf, OTHERS, type FieldDefinition, type NamespaceDefinition } from "./definition.ts";
import { canonical, type JsonSchema } from "./json-schema.ts";
import { lensFor, liftSchema, type FieldLens, type LensStep } from "./lens.ts";
import { narrowings, type Fits } from "./narrowing.ts";

export type { Fits } from "./narrowing.ts";

export interface Change {
  /** `theme`, `address.street`, `tags[]`; or a setting of the whole namespace, such as `persistence`. */
  readonly path: string;
  readonly why: string;
  /**
   * ADDITIVE: allowed in the same version. LENS: covered by the lens of a new version. BREAKING: needs a new version
   * and a lens. IMPOSSIBLE: in no version; see `why`.
   */
  readonly effect: "ADDITIVE" | "LENS" | "BREAKING" | "IMPOSSIBLE";
}

/**
 * Every difference between `next` and the last of `lineage` (the newest definition of each version, oldest first, never
 * empty). A definition with BREAKING or IMPOSSIBLE changes must not be published.
 */
export function compareDefinitions(
  lineage: readonly NamespaceDefinition[],
  next: NamespaceDefinition,
  fits: Fits,
): readonly Change[] {
  const last = lineage.at(-1);
  if (last === undefined) throw new RangeError("a lineage has a first definition");
  if (next.version !== last.version && next.version !== last.version + 1)
    return [
      {
        path: "version",
        why: `the newest is ${last.version}: a definition is of that version or of ${last.version + 1}`,
        effect: "IMPOSSIBLE",
      },
    ];
  const isNew = next.version > last.version;
  const lens = isNew ? next.lens : [];
  return [
    ...settings(last, next, isNew),
    ...lens.flatMap((step) => misstep(step, lineage, next)),
    ...Object.entries(last.fields).flatMap(([name, field]) => fieldChanges(name, field, next, lens, fits)),
    ...additions(lineage, next, lens, fits),
  ];
}

function settings(last: NamespaceDefinition, next: NamespaceDefinition, isNew: boolean): readonly Change[] {
  const changes: Change[] = [];
  if (last.persistence !== next.persistence)
    changes.push({
      path: "persistence",
      why: `was ${last.persistence}: what is kept was kept under that promise. Take another name`,
      effect: "IMPOSSIBLE",
    });
  if (!isNew && canonical(last.lens) !== canonical(next.lens))
    changes.push({ path: "lens", why: "belongs to the version, as it was first published", effect: "BREAKING" });
  for (const name of ["policy", "quota", "ttlSeconds", "minClientVersion"] as const)
    if (canonical(last[name]) !== canonical(next[name]))
      changes.push({ path: name, why: `was ${JSON.stringify(last[name])}`, effect: "ADDITIVE" });
  return changes;
}

/** Why a lens step cannot be applied. */
function misstep(
  step: LensStep,
  lineage: readonly NamespaceDefinition[],
  next: NamespaceDefinition,
): readonly Change[] {
  const fault = (why: string): readonly Change[] => [
    { path: `lens.${step.step}.${[step.field, ...step.path].join(".")}`, why, effect: "IMPOSSIBLE" },
  ];
  const last = lineage.at(-1);
  const origin = last && Object.keys(last.fields).find((name) => namesOf(next.lens, name).includes(step.field));
  const field = origin === undefined ? undefined : last?.fields[origin];
  if (field === undefined || origin === undefined) return fault("there was no such field");
  if (step.path.length === 0 && step.step !== "DEFAULT") {
    if ([...lineage, next].some(({ fields }) => Object.hasOwn(fields, OTHERS)))
      return fault("* takes every name, so none can be renamed or dropped beside it");
    if (step.step === "RENAME" && !Object.hasOwn(next.fields, lensFor(next.lens, origin).field ?? step.to))
      return fault(`there is no field ${step.to}`);
    return [];
  }
  const ofMembers = field.kind === "MAP" || field.kind === "DRAFT";
  if (!ofMembers && field.kind !== "REGISTER" && field.kind !== "LIST")
    return fault(`a ${field.kind} is not changed by a lens: add a field of another name and drop this one`);
  if (ofMembers && step.path.length < (step.step === "DROP" ? 1 : 2))
    return fault(`members of a ${field.kind} come and go one by one: they can be dropped, not renamed or made up`);
  return [];
}

/** The names that a field has in turn as the lens steps apply. */
function namesOf(lens: readonly LensStep[], field: string): readonly string[] {
  const names = [field];
  for (const step of lens)
    if (step.step === "RENAME" && step.path.length === 0 && step.field === names.at(-1)) names.push(step.to);
  return names;
}

function fieldChanges(
  name: string,
  field: FieldDefinition,
  next: NamespaceDefinition,
  lens: readonly LensStep[],
  fits: Fits,
): readonly Change[] {
  const ofField = lensFor(lens, name);
  if (ofField.field === undefined) return [{ path: name, why: "is dropped", effect: "LENS" }];
  const renamed: readonly Change[] =
    ofField.field === name ? [] : [{ path: name, why: `is called ${ofField.field}`, effect: "LENS" }];
  const after = ofField.field === OTHERS ? next.fields[OTHERS] : fieldOf(next, ofField.field);
  if (after === undefined) {
    if (name !== OTHERS)
      return [{ path: name, why: "is gone: a lens drops it, or says its new name", effect: "BREAKING" }];
    return [{ path: OTHERS, why: "cannot go: what is kept under any name would be lost", effect: "IMPOSSIBLE" }];
  }
  return [...renamed, ...schemaChanges(name, field, after, ofField, fits)];
}

/** Whether `after` accepts, through `lens`, what `before` accepted. */
function schemaChanges(
  path: string,
  before: FieldDefinition,
  after: FieldDefinition,
  lens: FieldLens,
  fits: Fits,
): readonly Change[] {
  if (before.kind !== after.kind)
    return [
      {
        path,
        why: `is ${after.kind}, was ${before.kind}: what is stored cannot become another kind. Add a field of another name`,
        effect: "IMPOSSIBLE",
      },
    ];
  const { fallback } = lens;
  if (fallback !== undefined && !fits(after.schema, fallback.value))
    return [{ path, why: `does not take its own default ${JSON.stringify(fallback.value)}`, effect: "IMPOSSIBLE" }];

  let lifted: JsonSchema = before.schema;
  for (const step of lens.steps) {
    const result = liftSchema(lifted, step);
    if (typeof result === "string")
      return [{ path: [path, ...step.path].join("."), why: `${step.step}: ${result}`, effect: "IMPOSSIBLE" }];
    lifted = result;
  }
  const narrower = narrowings(lifted, after.schema, path, fits);
  const effect = fallback === undefined ? "BREAKING" : "LENS";
  if (narrower.length > 0) return narrower.map(({ path, why }) => ({ path, why, effect }));
  if (canonical(before.schema) === canonical(after.schema)) return [];
  if (lens.steps.length > 0) return [{ path, why: "has another shape", effect: "LENS" }];
  return [{ path, why: "takes more, or says more of it", effect: "ADDITIVE" }];
}

/** Fields that the last definition did not name. */
function additions(
  lineage: readonly NamespaceDefinition[],
  next: NamespaceDefinition,
  lens: readonly LensStep[],
  fits: Fits,
): readonly Change[] {
  const last = lineage.at(-1);
  if (last === undefined) return [];
  const known = new Set(Object.keys(last.fields).map((name) => lensFor(lens, name).field));
  const used = new Set(lineage.flatMap(({ fields }) => Object.keys(fields)));
  const kept = new Set(Object.keys(last.fields));
  const hasLost =
    [...used].some((name) => !kept.has(name)) || lens.some(({ step, path }) => step !== "DEFAULT" && path.length === 0);
  return Object.entries(next.fields).flatMap(([name, field]): readonly Change[] => {
    if (known.has(name)) {
      // A field that replaced another keeps only its own name.
      const origins = Object.keys(last.fields).filter((each) => lensFor(lens, each).field === name);
      if (origins.length > 1)
        return [{ path: name, why: `would be ${origins.join(" and ")} at once`, effect: "IMPOSSIBLE" }];
      if (origins[0] === name || !used.has(name)) return [];
    }
    if (name === OTHERS && hasLost)
      return [{ path: name, why: "would bring back what was renamed or dropped", effect: "IMPOSSIBLE" }];
    if (used.has(name))
      return [{ path: name, why: "was a field before: what is kept under it would come back", effect: "IMPOSSIBLE" }];
    const others = last.fields[OTHERS];
    if (others !== undefined && name !== OTHERS) {
      const none: FieldLens = { field: name, steps: [], fallback: undefined };
      return [
        ...schemaChanges(name, others, field, none, fits),
        { path: name, why: "has its own definition", effect: "ADDITIVE" },
      ];
    }
    return [{ path: name, why: "is new", effect: "ADDITIVE" }];
  });
}

/** Whether two definitions are equal JSON, whatever the order of members. */
export function isSameDefinition(one: NamespaceDefinition, other: NamespaceDefinition): boolean {
  const [left, right]: readonly Json[] = [one, other];
  return left !== undefined && right !== undefined && canonical(left) === canonical(right);
}
