/** Pokes over Redis pub/sub: a channel per topic, one connection that subscribes and one that publishes. */
import type { Logger } from "@continuo/process";
import { startLine } from "./line.ts";
import { assertPoke, createPokeListeners, pokesClosed } from "./poke-listeners.ts";
import type { Pokes } from "./pokes.ts";
import { attempted, createSender, parseRedisUrl } from "./redis.ts";
import { createRedisListener } from "./redis-listener.ts";
import { throttle } from "./throttle.ts";

const PREFIX = "continuo:poke:";

/** Starts pokes on the server or cluster at `redisUrl`; connects by itself once Redis is up. */
export async function startRedisPokes(options: {
  redisUrl: string;
  logger: Logger;
  probeEveryMs?: number;
}): Promise<Pokes> {
  const { logger } = options;
  const target = parseRedisUrl(options.redisUrl);
  const listeners = createPokeListeners(logger, (topic) => listener.remove(topic));
  await using stack = new AsyncDisposableStack();
  let closed = false;
  const tellOfLost = throttle((about: object) => logger.warn(about, "a poke was not published"));

  const publisher = stack.adopt(createSender(target), (redis) => redis.disconnect());
  publisher.on("error", (cause: unknown) => logger.debug({ err: cause }, "the poke publisher lost its connection"));
  const publisherAttempted = attempted(publisher);
  const listener = createRedisListener({
    target,
    prefix: PREFIX,
    topics: listeners.topics,
    hear: listeners.poke,
    logger,
  });

  stack.use(await startLine({ ...options, open: listener.open, onOpen: listeners.gap }));
  await publisherAttempted;
  stack.defer(() => {
    closed = true;
  });
  const opened = stack.move();

  return {
    publish: async (topic, number) => {
      if (closed) throw pokesClosed();
      assertPoke(topic, number);
      await publisher
        .publish(PREFIX + topic, String(number))
        .catch((cause: unknown) => tellOfLost({ err: cause, topic }));
    },
    subscribe: async (topic, poked) => {
      if (closed) throw pokesClosed();
      assertPoke(topic);
      const listening = listeners.add(topic, poked);
      await listener.add(topic);
      return listening;
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}
