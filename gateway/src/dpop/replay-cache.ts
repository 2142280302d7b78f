/**
 * What may be used once, by any replica: the ids of DPoP proofs, and tickets.
 * Not a record: each key is forgotten when what it stands for would have expired anyway.
 */
import { AppError } from "@continuo/errors";
import type { Logger } from "@continuo/process";

export interface ReplayCache {
  /**
   * False when the key was used before, for `lifeMs` milliseconds at least.
   * Throws AppError UNAVAILABLE, REPLAY_UNKNOWN when the store cannot be reached.
   */
  reserve(key: string, lifeMs: number): Promise<boolean>;
}

/** Opens it over Redis when `redisUrl` is set, else over Postgres as continuo_gateway. A store that is down is no reason not to start. */
export async function startReplayCache(options: {
  databaseUrl: string;
  redisUrl?: string | undefined;
  logger: Logger;
}): Promise<ReplayCache & AsyncDisposable> {
  const { databaseUrl, redisUrl } = options;
  const logger = options.logger.child({ component: "replay-cache" });
  // A process loads only the driver it uses.
  if (redisUrl === undefined) {
    const { openPostgresReplayCache } = await import("./replay-cache.postgres.ts");
    return openPostgresReplayCache({ databaseUrl, logger });
  }
  const { openRedisReplayCache } = await import("./replay-cache.redis.ts");
  return openRedisReplayCache({ redisUrl, logger });
}

/** Nobody can say whether a key was used before. */
export function replayUnknown(cause?: unknown): AppError {
  return new AppError(
    "UNAVAILABLE",
    "REPLAY_UNKNOWN",
    "The service cannot tell right now whether this was used before.",
    {
      cause,
    },
  );
}
