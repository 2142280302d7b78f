import type { Logger } from "@continuo/process";
import type { Relays } from "./relays.ts";

export interface RelaysOptions {
  readonly databaseUrl: string;
  readonly redisUrl?: string | undefined;
  readonly logger: Logger;
  /** How often a silent connection is probed. Milliseconds. */
  readonly probeEveryMs?: number;
}

/** Relays over Redis when `redisUrl` is set, else over Postgres. Does not fail when the bus is down. */
export async function openRelays({ databaseUrl, redisUrl, ...options }: RelaysOptions): Promise<Relays> {
  const logger = options.logger.child({ component: "relays" });
  // A process loads only the driver it uses: each is tens of megabytes.
  if (redisUrl === undefined) {
    const { openPostgresRelays } = await import("./relays.postgres.ts");
    return openPostgresRelays({ ...options, databaseUrl, logger });
  }
  const { openRedisRelays } = await import("./relays.redis.ts");
  return openRedisRelays({ ...options, redisUrl, logger });
}
