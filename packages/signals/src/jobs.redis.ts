/**
 * BullMQ on Redis or Valkey, one server or a cluster. All keys share one hash slot, as BullMQ's scripts require.
 * The server needs `maxmemory-policy noeviction` and an append-only file, because jobs live there.
 */
import { type Logger, redisUnreachable } from "@continuo/process";
import { createRedisBackend } from "bullmq";
import type { JobsBackend } from "./jobs.backend.ts";
import { createRedis, parseRedisUrl } from "./redis.ts";

/** Two shared connections; BullMQ opens one more per worker. They reconnect when Redis comes back. */
export function openRedisBackend(options: { redisUrl: string; logger: Logger }): JobsBackend {
  const closing = new AbortController();
  const target = parseRedisUrl(options.redisUrl);
  // A producer fails soon when the server is lost; a worker waits for it to come back.
  const producer = createRedis(target, {
    maxRetriesPerRequest: 1,
    enableOfflineQueue: true,
    socketTimeout: 5_000,
    closing: closing.signal,
  });
  // BullMQ's blocking duplicate of it may rightly be silent for up to 10 s.
  const consumer = createRedis(target, {
    maxRetriesPerRequest: null,
    enableOfflineQueue: true,
    socketTimeout: 15_000,
    closing: closing.signal,
  });
  for (const redis of [producer, consumer]) {
    redis.on("error", (cause: unknown) => options.logger.debug({ err: cause }, "a job queue lost its connection"));
  }
  return {
    queue: { factory: createRedisBackend, connection: producer },
    worker: { factory: createRedisBackend, connection: consumer, drainDelay: 5 },
    unreachable: (cause) => redisUnreachable(target.urls[0], cause),
    // BullMQ's scripts are atomic in Redis.
    alone: (_, work) => work(),
    [Symbol.asyncDispose]: async () => {
      closing.abort();
      producer.disconnect();
      consumer.disconnect();
    },
  };
}
