/**
 * Pokes over Redis pub/sub: a channel per topic, one connection that subscribes and one that publishes.
 * On a cluster every node hears every PUBLISH, so one connection to any node suffices.
 */
import type { Logger } from "@continuo/process";
import { Redis } from "ioredis";
import { startLine, type OpenLine } from "./line.ts";
import { assertPoke, createPokeListeners, pokesClosed } from "./poke-listeners.ts";
import type { Pokes } from "./pokes.ts";
import { attempted, createRedis, parseRedisUrl } from "./redis.ts";

const PREFIX = "continuo:poke:";
const TIMEOUT_MS = 5_000;

/** Starts pokes on the server or cluster at `redisUrl`; comes up by itself when Redis does. */
export async function startRedisPokes(options: {
  redisUrl: string;
  logger: Logger;
  probeEveryMs?: number;
}): Promise<Pokes> {
  const { logger } = options;
  const target = parseRedisUrl(options.redisUrl);
  const listeners = createPokeListeners(logger);
  await using stack = new AsyncDisposableStack();
  let closed = false;

  // A poke for later is no poke: fail at once instead of queueing while the server is away.
  const publisher = stack.adopt(
    createRedis(target, { enableOfflineQueue: false, maxRetriesPerRequest: 0, socketTimeout: TIMEOUT_MS }),
    (redis) => redis.disconnect(),
  );
  publisher.on("error", (cause: unknown) => logger.debug({ err: cause }, "the poke publisher lost its connection"));

  const publisherAttempted = attempted(publisher);

  let subscriber: Redis | undefined;
  let attempts = 0;
  async function open(): Promise<OpenLine> {
    const url = target.urls[attempts++ % target.urls.length] ?? target.urls[0];
    const redis = new Redis(url, {
      lazyConnect: true,
      retryStrategy: null,
      enableOfflineQueue: false,
      connectTimeout: TIMEOUT_MS,
      commandTimeout: TIMEOUT_MS,
    });
    const gone = Promise.withResolvers<void>();
    redis.on("error", (cause: unknown) => logger.debug({ err: cause }, "the poke subscriber lost its connection"));
    redis.on("end", () => gone.resolve());
    redis.on("message", (channel: string, text: string) => listeners.poke(channel.slice(PREFIX.length), text));
    const close = async (): Promise<void> => {
      if (subscriber === redis) subscriber = undefined;
      redis.disconnect();
    };
    try {
      await redis.connect();
      // From here on whoever subscribes does so on this connection; the topics before it follow in one command.
      subscriber = redis;
      const channels = listeners.topics().map((topic) => PREFIX + topic);
      if (channels.length > 0) await redis.subscribe(...channels);
    } catch (cause) {
      await close();
      throw cause;
    }
    return { closed: gone.promise, probe: async () => void (await redis.ping()), [Symbol.asyncDispose]: close };
  }

  stack.use(await startLine({ ...options, open, onOpen: listeners.gap }));
  await publisherAttempted;
  stack.defer(() => {
    closed = true;
  });
  const opened = stack.move();

  return {
    publish: async (topic, number) => {
      if (closed) throw pokesClosed();
      assertPoke(topic, number);
      await publisher.publish(PREFIX + topic, String(number)).catch((cause: unknown) => {
        logger.warn({ err: cause, topic }, "a poke was not published");
      });
    },
    subscribe: async (topic, listener) => {
      if (closed) throw pokesClosed();
      assertPoke(topic);
      const remove = listeners.add(topic, listener);
      const current = subscriber;
      // A connection that does not answer is closed: the next one subscribes to everything and tells the gap.
      await current?.subscribe(PREFIX + topic).catch(() => current.disconnect());
      return {
        [Symbol.asyncDispose]: async () => {
          if (remove()) await subscriber?.unsubscribe(PREFIX + topic).catch(() => undefined);
        },
      };
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}
