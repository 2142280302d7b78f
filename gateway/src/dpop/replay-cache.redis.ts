/** The replay cache in Redis or Valkey, standalone or cluster: SET NX with an expiry. */
import { createHash } from "node:crypto";
import type { Logger } from "@continuo/process";
import { connectRedis } from "@continuo/signals/redis";
import { replayUnknown, type ReplayCache } from "./replay-cache.ts";

const PREFIX = "continuo:once:";
const ANSWER_WITHIN_MS = 3_000;

/** Resolves when the first connection attempt has succeeded or failed; reconnects by itself when Redis comes back. */
export async function openRedisReplayCache(options: {
  redisUrl: string;
  logger: Logger;
}): Promise<ReplayCache & AsyncDisposable> {
  const { redisUrl, logger } = options;
  // The request waits for the answer: failing at once is better than succeeding late.
  const redis = await connectRedis(redisUrl, {
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    socketTimeout: ANSWER_WITHIN_MS,
    onError: (cause) => logger.debug({ err: cause }, "the connection was lost"),
  });
  return {
    async reserve(key, lifeMs) {
      const hash = createHash("sha256").update(key).digest("base64url");
      try {
        return (await redis.set(PREFIX + hash, "", "PX", Math.ceil(lifeMs), "NX")) === "OK";
      } catch (cause) {
        throw replayUnknown(cause);
      }
    },
    async [Symbol.asyncDispose]() {
      redis.disconnect();
    },
  };
}
