/**
 * Topics that are heard over Redis pub/sub, each a channel, on one connection at a time: to any node, as on a cluster every
 * node hears every PUBLISH. A line (`line.ts`) opens the next one when it is lost.
 */
import type { Logger } from "@continuo/process";
import { Redis } from "ioredis";
import type { OpenLine } from "./line.ts";
import type { RedisTarget } from "./redis.ts";

const TIMEOUT_MS = 5_000;

export interface RedisListener {
  /** Opens a connection that hears all topics there are. Rejects when there is none to be had. */
  readonly open: () => Promise<OpenLine>;
  /** The connection that is open, if one is, hears this topic too. */
  add(topic: string): Promise<void>;
  /** It does not any more. */
  remove(topic: string): Promise<void>;
}

/** `topics` are those to hear by now, of which `add` and `remove` tell; `prefix` is in front of each one's channel. */
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
      const redis = new Redis(target.urls[attempts++ % target.urls.length] ?? target.urls[0], {
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
        // From here on whoever is added is so on this connection; the topics before it follow in one command.
        current = redis;
        const channels = topics().map((topic) => prefix + topic);
        if (channels.length > 0) await redis.subscribe(...channels);
      } catch (cause) {
        await close();
        // What ioredis rejects with says only that there is no connection.
        throw trouble ?? cause;
      }
      return { closed: gone.promise, probe: async () => void (await redis.ping()), [Symbol.asyncDispose]: close };
    },
    async add(topic) {
      const redis = current;
      // One that does not answer is closed: the next one hears everything.
      await redis?.subscribe(prefix + topic).catch(() => redis.disconnect());
    },
    async remove(topic) {
      await current?.unsubscribe(prefix + topic).catch(() => undefined);
    },
  };
}
