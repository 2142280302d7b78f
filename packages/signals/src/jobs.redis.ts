/**
 * BullMQ on Redis or Valkey, one server or a cluster. All keys share one hash slot, as BullMQ's scripts demand.
 * The server needs `maxmemory-policy noeviction` and an append-only file: jobs live there.
 */
import type { Logger } from "@continuo/process";
import { createRedisBackend } from "bullmq";
import type { JobsBackend } from "./jobs.backend.ts";
import { createRedis, parseRedisUrl } from "./redis.ts";

/** Two shared connections; BullMQ opens one more per worker. They come up by themselves when Redis does. */
export function openRedisBackend(options: { redisUrl: string; logger: Logger }): JobsBackend {
  const closing = new AbortController();
  const target = parseRedisUrl(options.redisUrl);
  // A producer hears of a lost server soon; a worker waits for it to come back.
  const producer = createRedis(target, {
    maxRetriesPerRequest: 1,
    enableOfflineQueue: true,
    socketTimeout: 5_000,
    closing: closing.signal,
  });
  // Its blocking twin is rightly silent for up to 10 s.
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
    // Each of BullMQ's scripts is atomic there.
    alone: (_, work) => work(),
    [Symbol.asyncDispose]: async () => {
      closing.abort();
      producer.disconnect();
      consumer.disconnect();
    },
  };
}
