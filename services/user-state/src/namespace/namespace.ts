/**
 * A namespace: a registered part of a person's state, which says how each of its fields merges and which values it takes.
 * What people keep in it are entries; how old versions are read is `versions.ts`; how it is registered `publication.ts`.
 */
import { AppError } from "@continuo/errors";
import type { Json, KindName } from "@continuo/merge";
import { fieldOf, type NamespaceDefinition } from "@continuo/namespace";
import { viewOf, type Unit } from "../entry/unit.ts";

/** A definition as it was published; never changed since. */
export interface Revision {
  /** 1 for the first of its version; additive changes count it up. */
  readonly revision: number;
  readonly definition: NamespaceDefinition;
}

export interface Namespace extends Revision {
  readonly name: string;
  readonly version: number;
  /** The kind of each field; `*` stands for all others. */
  readonly kinds: ReadonlyMap<string, KindName>;
  /** The newest revision of each version, the oldest first; the last is this one. */
  readonly lineage: readonly Revision[];
}

export interface NamespaceStore {
  /** The newest revision of each active version of each namespace, in order of name and version. */
  load(): Promise<readonly Revision[]>;
}

export interface Namespaces {
  /** All of them, by name. */
  all(): Promise<Namespace[]>;
  /** Those of `names` that exist; looks again where a change was made under a version that is not known yet. */
  find(
    names: Iterable<string>,
    changes?: Iterable<{ readonly namespace: string; readonly schemaVersion: number }>,
  ): Promise<ReadonlyMap<string, Namespace>>;
}

/** How long a replica may not know of a new version. */
const FRESH_MS = 10_000;
/** How soon a name that is not known is looked for again. */
const LOOK_AGAIN_MS = 1_000;

/** How `field` merges; undefined when the namespace has no such field. Of the newest version unless said otherwise. */
export function kindOf(namespace: Namespace, field: string, version = namespace.version): KindName | undefined {
  const revision = namespace.lineage.find(({ definition }) => definition.version === version);
  return revision && fieldOf(revision.definition, field)?.kind;
}

/** Whether what is pushed to it is kept. */
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

/** A namespace of its newest revisions, the oldest version first. Throws RangeError for none. */
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

/** Namespaces change rarely and every push needs them: kept in memory for FRESH_MS. `now` in milliseconds. */
export function createNamespaces(options: { store: NamespaceStore; now: () => number }): Namespaces {
  const { store, now } = options;
  let known: Promise<ReadonlyMap<string, Namespace>> | undefined;
  let loadedAt = 0;
  /** What was published is the same object ever after: compiled schemas hang on it. */
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
      // It may have been registered a moment ago, and a refused change is refused for good.
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
