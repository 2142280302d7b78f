/**
 * A namespace: a registered part of a person's state that declares how each of its fields merges and which values it
 * takes. Its contents are entries; `versions.ts` reads old versions; `publication.ts` registers definitions.
 */
import { AppError } from "@continuo/errors";
import type { Json, KindName } from "@continuo/merge";
import { fieldOf, type NamespaceDefinition } from "@continuo/namespace";
import { viewOf, type Unit } from "../entry/unit.ts";

/** A published definition; immutable. */
export interface Revision {
  /** 1 for the first definition of a version; each additive change increments it. */
  readonly revision: number;
  readonly definition: NamespaceDefinition;
}

export interface Namespace extends Revision {
  readonly name: string;
  readonly version: number;
  /** The kind of each field; `*` stands for all others. */
  readonly kinds: ReadonlyMap<string, KindName>;
  /** The newest revision of each version, oldest version first; the last is this one. */
  readonly lineage: readonly Revision[];
}

export interface NamespaceStore {
  /** The newest revision of each active version of each namespace, in order of name and version. */
  load(): Promise<readonly Revision[]>;
}

export interface Namespaces {
  /** All namespaces, in order of name. */
  all(): Promise<Namespace[]>;
  /** The existing namespaces among `names`; reloads when a name or a change's version is not known yet. */
  find(
    names: Iterable<string>,
    changes?: Iterable<{ readonly namespace: string; readonly schemaVersion: number }>,
  ): Promise<ReadonlyMap<string, Namespace>>;
}

/** How long a process may be unaware of a new version. */
const FRESH_MS = 10_000;
/** How soon an unknown name is looked up again. */
const LOOK_AGAIN_MS = 1_000;

/** The kind of `field`; undefined when the namespace has no such field. `version` defaults to the newest. */
export function kindOf(namespace: Namespace, field: string, version = namespace.version): KindName | undefined {
  const revision = namespace.lineage.find(({ definition }) => definition.version === version);
  return revision && fieldOf(revision.definition, field)?.kind;
}

/** Whether pushed changes are stored. */
export function isStored({ definition }: Namespace): boolean {
  return definition.persistence === "DURABLE" || definition.persistence === "TTL";
}

/** What clients show of a unit, by the resume policy of its namespace; null for nothing. */
export async function viewByPolicy(
  namespaces: Namespaces,
  unit: Pick<Unit, "kind" | "state"> & { readonly namespace: string },
): Promise<Json> {
  const namespace = (await namespaces.find([unit.namespace])).get(unit.namespace);
  return viewOf(unit, namespace?.definition.policy.resume) ?? null;
}

/**
 * Builds a namespace from the newest revision of each version, oldest version first. Throws RangeError if there is
 * none.
 */
export function namespaceOf(lineage: readonly Revision[]): Namespace {
  const newest = lineage.at(-1);
  if (newest === undefined) throw new RangeError("a namespace has a definition");
  const { name, version, fields } = newest.definition;
  const kinds = new Map(Object.entries(fields).map(([field, { kind }]) => [field, kind]));
  return { ...newest, name, version, kinds, lineage };
}

/** Throws CONFLICT/UPGRADE_REQUIRED when the author of a change is too old to make it. */
export function assertUpgraded(
  namespaces: ReadonlyMap<string, Namespace>,
  ops: Iterable<{ readonly namespace: string; readonly schemaVersion: number }>,
): void {
  for (const { namespace: name, schemaVersion } of ops) {
    const minClientVersion = namespaces.get(name)?.definition.minClientVersion ?? 1;
    if (schemaVersion < 1 || schemaVersion >= minClientVersion) continue;
    throw new AppError(
      "CONFLICT",
      "UPGRADE_REQUIRED",
      `${name} takes changes of version ${minClientVersion} or newer: keep the queue and update.`,
      { details: { namespace: name, schemaVersion, minClientVersion } },
    );
  }
}

/** Caches namespaces for FRESH_MS: they change rarely, and every push needs them. `now` is in milliseconds. */
export function createNamespaces(options: { store: NamespaceStore; now: () => number }): Namespaces {
  const { store, now } = options;
  let known: Promise<ReadonlyMap<string, Namespace>> | undefined;
  let loadedAt = 0;
  /** A published revision keeps its object identity across loads: compiled schemas are attached to it. */
  let revisions = new Map<string, Revision>();

  async function load(): Promise<ReadonlyMap<string, Namespace>> {
    const loaded = await store.load();
    revisions = new Map(
      loaded.map((revision) => {
        const { name, version } = revision.definition;
        const id = JSON.stringify([name, version, revision.revision]);
        return [id, revisions.get(id) ?? revision];
      }),
    );
    const lineages = Map.groupBy(revisions.values(), ({ definition }) => definition.name);
    return new Map([...lineages].map(([name, lineage]) => [name, namespaceOf(lineage)]));
  }

  function current(maxAgeMs: number): Promise<ReadonlyMap<string, Namespace>> {
    if (known !== undefined && now() - loadedAt < maxAgeMs) return known;
    loadedAt = now();
    const loading = load();
    loading.catch(() => {
      if (known === loading) known = undefined;
    });
    known = loading;
    return loading;
  }

  return {
    all: async () => [...(await current(FRESH_MS)).values()],
    find: async (names, changes = []) => {
      const wanted = [...new Set(names)];
      let namespaces = await current(FRESH_MS);
      // It may have been registered a moment ago, and a refusal is final.
      const isNew =
        wanted.some((name) => !namespaces.has(name)) ||
        [...changes].some((change) => change.schemaVersion > (namespaces.get(change.namespace)?.version ?? 0));
      if (isNew) namespaces = await current(LOOK_AGAIN_MS);
      return new Map(
        wanted.flatMap((name) => {
          const namespace = namespaces.get(name);
          return namespace === undefined ? [] : [[name, namespace] as const];
        }),
      );
    },
  };
}
