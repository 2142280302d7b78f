import type { Logger } from "@continuo/process";
import type { Pokes } from "./pokes.ts";

export type { PokeListener, Pokes } from "./pokes.ts";

export interface PokesStartOptions {
  readonly databaseUrl: string;
  readonly redisUrl?: string | undefined;
  readonly logger: Logger;
  /** How often a silent connection is probed. Milliseconds. */
  readonly probeEveryMs?: number;
}

/** Pokes over Redis when `redisUrl` is set, else over Postgres. Does not fail when the bus is down: it connects later. */
export async function startPokes({ databaseUrl, redisUrl, ...options }: PokesStartOptions): Promise<Pokes> {
  const logger = options.logger.child({ component: "pokes" });
  // A process loads only the driver it uses: each is tens of megabytes.
  if (redisUrl === undefined) {
    const { startPostgresPokes } = await import("./pokes.postgres.ts");
    return startPostgresPokes({ ...options, databaseUrl, logger });
  }
  const { startRedisPokes } = await import("./pokes.redis.ts");
  return startRedisPokes({ ...options, redisUrl, logger });
}
