/**
 * Health: `live` is the event loop turning; `ready` is every dependency answering and no drain under way.
 * A load balancer asks `ready` before it sends traffic.
 */
export interface Health {
  /** Adds a dependency; `probe` rejects, or resolves to false, when it is not there. */
  add(name: string, probe: () => Promise<unknown>): void;
  /** Adds what `ready` tells beside that, under `name`: it makes nothing ready or unready. */
  tell(name: string, read: () => unknown): void;
  /** Not ready from now on, whatever the probes say: set before draining. */
  drain(): void;
  /** `checks` maps each dependency to "ok" or to what is wrong with it, in words without secrets. */
  ready(): Promise<{ ready: boolean; checks: Record<string, string>; [told: string]: unknown }>;
}

const PROBE_TIMEOUT_MS = 1_000;

/**
 * A registry of dependency probes, each given a second to answer. Who asks meanwhile is told the same: anybody may ask, and
 * however many do, a dependency is asked once at a time.
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
