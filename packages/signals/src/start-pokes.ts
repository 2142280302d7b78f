import type { Logger } from "@continuo/process";
import { startPostgresPokes } from "./pokes.postgres.ts";
import { startRedisPokes } from "./pokes.redis.ts";
import type { Pokes } from "./pokes.ts";

export interface PokesStartOptions {
  readonly databaseUrl: string;
  readonly redisUrl?: string | undefined;
  readonly logger: Logger;
  /** How often a silent connection is asked whether it is still there. Milliseconds. */
  readonly probeEveryMs?: number;
}

/** Pokes over Redis when `redisUrl` is set, else over Postgres. Never fails for a bus that is down: it comes up by itself. */
export function startPokes({ databaseUrl, redisUrl, ...options }: PokesStartOptions): Promise<Pokes> {
  const logger = options.logger.child({ component: "pokes" });
  return redisUrl === undefined ? startPostgresPokes({ ...options, databaseUrl, logger }) : startRedisPokes({ ...options, redisUrl, logger });
}
