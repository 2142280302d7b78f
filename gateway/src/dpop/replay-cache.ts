/**
 * What may be used only once across all replicas: the ids of DPoP proofs, and tickets. Not a permanent record: a key is
 * forgotten once what it stands for would have expired anyway.
 */
import { AppError } from "@continuo/errors";
import type { Logger } from "@continuo/process";

export interface ReplayCache {
  /**
   * Returns false if the key was already used; a key is remembered for at least `lifeMs` milliseconds. Throws AppError
   * UNAVAILABLE, REPLAY_UNKNOWN when the store cannot be reached.
   */
  reserve(key: string, lifeMs: number): Promise<boolean>;
}

/**
 * Opens the cache in Redis if `redisUrl` is set, otherwise in Postgres as continuo_gateway. Starts even if the store is
 * down, but not if the database refuses: SetupError E_DB_UNREACHABLE, E_DB_ROLE or E_DB_NOT_MIGRATED.
 */
export async function startReplayCache(options: {
  databaseUrl: string;
  redisUrl?: string | undefined;
  logger: Logger;
}): Promise<ReplayCache & AsyncDisposable> {
  const { databaseUrl, redisUrl } = options;
  const logger = options.logger.child({ component: "replay-cache" });
  // Load only the driver that is used.
  if (redisUrl === undefined) {
    const { openPostgresReplayCache } = await import("./replay-cache.postgres.ts");
    return openPostgresReplayCache({ databaseUrl, logger });
  }
  const { openRedisReplayCache } = await import("./replay-cache.redis.ts");
  return openRedisReplayCache({ redisUrl, logger });
}

/** The error for a store that cannot tell whether a key was used before. */
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
