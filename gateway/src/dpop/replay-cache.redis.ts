/** The replay cache over Redis or Valkey, alone or as a cluster: SET NX with a life. */
import { createHash } from "node:crypto";
import type { Logger } from "@continuo/process";
import { connectRedis } from "@continuo/signals/redis";
import { replayUnknown, type ReplayCache } from "./replay-cache.ts";

const PREFIX = "continuo:once:";
const ANSWER_WITHIN_MS = 3_000;

/** Resolves when the first attempt to connect is over, either way; it comes up by itself when Redis does. */
export async function openRedisReplayCache(options: {
  redisUrl: string;
  logger: Logger;
}): Promise<ReplayCache & AsyncDisposable> {
  const { redisUrl, logger } = options;
  // Whoever asks waits for the answer: better none at once than a good one later.
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
