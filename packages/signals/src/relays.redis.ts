/** Relays over Redis pub/sub, which keeps nothing: a channel per topic. */
import type { Logger } from "@continuo/process";
import { Redis } from "ioredis";
import { startLine, type OpenLine } from "./line.ts";
import { attempted, createRedis, parseRedisUrl } from "./redis.ts";
import { assertRelay, createEars, relaysClosed, type Relays } from "./relays.ts";

const PREFIX = "continuo:relay:";
const TIMEOUT_MS = 5_000;

/** Relays on the server or cluster at `redisUrl`. Connects when it is first used; comes up by itself when Redis does. */
export function openRedisRelays(options: { redisUrl: string; logger: Logger; probeEveryMs?: number }): Relays {
  const { logger } = options;
  const target = parseRedisUrl(options.redisUrl);
  const ears = createEars(logger);
  const stack = new AsyncDisposableStack();
  let sender: Promise<ReturnType<typeof createRedis>> | undefined;
  let listener: Redis | undefined;
  let listening: Promise<unknown> | undefined;
  let attempts = 0;

  /** Fails at once instead of queueing while the server is away: what is relayed later is no relay. */
  async function connectSender(): Promise<ReturnType<typeof createRedis>> {
    const redis = stack.adopt(
      createRedis(target, { enableOfflineQueue: false, maxRetriesPerRequest: 0, socketTimeout: TIMEOUT_MS }),
      (opened) => opened.disconnect(),
    );
    redis.on("error", () => logger.debug("the relay's sender lost its connection"));
    await attempted(redis);
    return redis;
  }

  async function listen(): Promise<OpenLine> {
    const redis = new Redis(target.urls[attempts++ % target.urls.length] ?? target.urls[0], {
      lazyConnect: true,
      retryStrategy: null,
      enableOfflineQueue: false,
      connectTimeout: TIMEOUT_MS,
      commandTimeout: TIMEOUT_MS,
    });
    const gone = Promise.withResolvers<void>();
    redis.on("error", () => logger.debug("the relay's listener lost its connection"));
    redis.on("end", () => gone.resolve());
    redis.on("message", (channel: string, text: string) => ears.tell(channel.slice(PREFIX.length), text));
    const close = async (): Promise<void> => {
      if (listener === redis) listener = undefined;
      redis.disconnect();
    };
    try {
      await redis.connect();
      listener = redis;
      const channels = ears.topics().map((topic) => PREFIX + topic);
      if (channels.length > 0) await redis.subscribe(...channels);
    } catch (cause) {
      await close();
      throw cause;
    }
    return { closed: gone.promise, probe: async () => void (await redis.ping()), [Symbol.asyncDispose]: close };
  }

  return {
    async publish(topic, text) {
      if (stack.disposed) throw relaysClosed();
      assertRelay(topic, text);
      sender ??= connectSender();
      const redis = await sender;
      // Not the error itself: it holds the command, and so what was sent.
      await redis
        .publish(PREFIX + topic, text)
        .catch(() => logger.warn({ topic }, "nothing was relayed: Redis is away"));
    },
    async subscribe(topic, hear) {
      if (stack.disposed) throw relaysClosed();
      const remove = ears.add(topic, hear);
      listening ??= startLine({ ...options, open: listen, onOpen: () => undefined }).then((line) => stack.use(line));
      await listening;
      const current = listener;
      await current?.subscribe(PREFIX + topic).catch(() => current.disconnect());
      return {
        [Symbol.asyncDispose]: async () => {
          if (remove()) await listener?.unsubscribe(PREFIX + topic).catch(() => undefined);
        },
      };
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}
