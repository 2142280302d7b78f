/**
 * Health: `live` means that the event loop turns; `ready` that every dependency answers and no drain is under way.
 * A load balancer checks `ready` before it sends traffic.
 */
export interface Health {
  /** Adds a dependency; `probe` rejects, or resolves to false, when it is unavailable. */
  add(name: string, probe: () => Promise<unknown>): void;
  /** Adds information to the answer of `ready`, under `name`, without affecting readiness. */
  tell(name: string, read: () => unknown): void;
  /** Not ready from now on, whatever the probes say: call before draining. */
  drain(): void;
  /** `checks` maps each dependency to "ok" or to what is wrong with it, in words without secrets. */
  ready(): Promise<{ ready: boolean; checks: Record<string, string>; [told: string]: unknown }>;
}

const PROBE_TIMEOUT_MS = 1_000;

/**
 * A registry of dependency probes, each with a second to answer. Anybody may ask, so callers that ask while a check is
 * under way share its result: a dependency is probed once at a time.
 */
export function createHealth(): Health {
  const probes = new Map<string, () => Promise<unknown>>();
  const told = new Map<string, () => unknown>();
  let draining = false;
  let asking: Promise<Record<string, string>> | undefined;

  async function check(probe: () => Promise<unknown>): Promise<string> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<string>((resolve) => {
      timer = setTimeout(() => resolve("no answer within 1 s"), PROBE_TIMEOUT_MS);
    });
    try {
      const ask = async (): Promise<string> => ((await probe()) === false ? "not ready" : "ok");
      return await Promise.race([ask(), late]);
    } catch {
      return "unreachable";
    } finally {
      clearTimeout(timer);
    }
  }

  async function checkAll(): Promise<Record<string, string>> {
    const checked = [...probes].map(async ([name, probe]) => [name, await check(probe)] as const);
    return Object.fromEntries(await Promise.all(checked));
  }

  return {
    add: (name, probe) => void probes.set(name, probe),
    tell: (name, read) => void told.set(name, read),
    drain: () => {
      draining = true;
    },
    ready: async () => {
      asking ??= checkAll().finally(() => {
        asking = undefined;
      });
      const checks = await asking;
      return {
        ...Object.fromEntries([...told].map(([name, read]) => [name, read()])),
        ready: !draining && Object.values(checks).every((answer) => answer === "ok"),
        checks: draining ? { ...checks, drain: "under way" } : checks,
      };
    },
  };
}
