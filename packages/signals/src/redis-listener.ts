/**
 * Listens to topics over Redis pub/sub, a channel per topic, on one connection at a time. Any node will do, since in a
 * cluster every node receives every PUBLISH. When the connection is lost, a line (`line.ts`) opens the next.
 */
import { type Logger, redisUnreachable } from "@continuo/process";
import { Redis } from "ioredis";
import type { OpenLine } from "./line.ts";
import type { RedisTarget } from "./redis.ts";

const TIMEOUT_MS = 5_000;

export interface RedisListener {
  /** Opens a connection that subscribes to all current topics. Rejects when it cannot connect. */
  readonly open: () => Promise<OpenLine>;
  /** Subscribes the open connection, if there is one, to this topic too. */
  add(topic: string): Promise<void>;
  /** Unsubscribes it. */
  remove(topic: string): Promise<void>;
}

/** `topics` returns the current topics; `add` and `remove` announce changes to them. `prefix` precedes each channel's name. */
export function createRedisListener(options: {
  target: RedisTarget;
  prefix: string;
  topics: () => string[];
  hear: (topic: string, text: string) => void;
  logger: Logger;
}): RedisListener {
  const { target, prefix, topics, hear, logger } = options;
  let current: Redis | undefined;
  let attempts = 0;

  return {
    async open() {
      const url = target.urls[attempts++ % target.urls.length] ?? target.urls[0];
      const redis = new Redis(url, {
        lazyConnect: true,
        retryStrategy: null,
        enableOfflineQueue: false,
        connectTimeout: TIMEOUT_MS,
        commandTimeout: TIMEOUT_MS,
      });
      let trouble: unknown;
      const gone = Promise.withResolvers<void>();
      redis.on("error", (cause: unknown) => {
        trouble = cause;
        logger.debug({ err: cause }, "a listener lost its connection");
      });
      redis.on("end", () => gone.resolve());
      redis.on("message", (channel: string, text: string) => hear(channel.slice(prefix.length), text));
      const close = async (): Promise<void> => {
        if (current === redis) current = undefined;
        redis.disconnect();
      };
      try {
        await redis.connect();
        // From here on, `add` subscribes on this connection; the topics added before follow in one command.
        current = redis;
        const channels = topics().map((topic) => prefix + topic);
        if (channels.length > 0) await redis.subscribe(...channels);
      } catch (cause) {
        await close();
        // ioredis rejects saying only that there is no connection.
        throw redisUnreachable(url, trouble ?? cause);
      }
      return { closed: gone.promise, probe: async () => void (await redis.ping()), [Symbol.asyncDispose]: close };
    },
    async add(topic) {
      const redis = current;
      // If it does not answer, close it: the next connection subscribes to everything.
      await redis?.subscribe(prefix + topic).catch(() => redis.disconnect());
    },
    async remove(topic) {
      await current?.unsubscribe(prefix + topic).catch(() => undefined);
    },
  };
}
