/**
 * A namespace: a registered part of a person's state, which says how each of its fields merges.
 * What people keep in it are entries.
 */
import type { KindName } from "@continuo/merge";

export interface Namespace {
  readonly name: string;
  readonly version: number;
  /** The kind of each field; `*` stands for all others. */
  readonly kinds: ReadonlyMap<string, KindName>;
}

export interface NamespaceStore {
  /** The newest active version of each namespace whose entries we keep. */
  load(): Promise<readonly Namespace[]>;
}

export interface Namespaces {
  /** All of them, by name. */
  all(): Promise<Namespace[]>;
  /** Those of `names` that exist. */
  find(names: Iterable<string>): Promise<ReadonlyMap<string, Namespace>>;
}

/** Every other field. */
const OTHERS = "*";
/** How long a replica may not know of a new version. */
const FRESH_MS = 10_000;
/** How soon a name that is not known is looked for again. */
const LOOK_AGAIN_MS = 1_000;

/** How `field` merges; undefined when the namespace has no such field. */
export function kindOf(namespace: Namespace, field: string): KindName | undefined {
  return field === OTHERS ? undefined : (namespace.kinds.get(field) ?? namespace.kinds.get(OTHERS));
}

/** Namespaces change rarely and every push needs them: kept in memory for FRESH_MS. `now` in milliseconds. */
export function createNamespaces(options: { store: NamespaceStore; now: () => number }): Namespaces {
  const { store, now } = options;
  let known: Promise<ReadonlyMap<string, Namespace>> | undefined;
  let loadedAt = 0;

  async function load(): Promise<ReadonlyMap<string, Namespace>> {
    const namespaces = await store.load();
    return new Map(namespaces.map((namespace) => [namespace.name, namespace]));
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
    find: async (names) => {
      const wanted = [...new Set(names)];
      let namespaces = await current(FRESH_MS);
      // It may have been registered a moment ago, and a refused change is refused for good.
      if (wanted.some((name) => !namespaces.has(name))) namespaces = await current(LOOK_AGAIN_MS);
      return new Map(
        wanted.flatMap((name) => {
          const namespace = namespaces.get(name);
          return namespace === undefined ? [] : [[name, namespace] as const];
        }),
      );
    },
  };
}
