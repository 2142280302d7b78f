/** Relays over Redis pub/sub, which stores nothing: a channel per topic. */
import type { Logger } from "@continuo/process";
import { startLine } from "./line.ts";
import { attempted, createSender, parseRedisUrl } from "./redis.ts";
import { createRedisListener } from "./redis-listener.ts";
import { assertRelay, createEars, relaysClosed, type Relays } from "./relays.ts";
import { throttle } from "./throttle.ts";

const PREFIX = "continuo:relay:";

/** Relays on the server or cluster at `redisUrl`. Connects on first use, and by itself once Redis is up. */
export function openRedisRelays(options: { redisUrl: string; logger: Logger; probeEveryMs?: number }): Relays {
  const { logger } = options;
  const target = parseRedisUrl(options.redisUrl);
  const ears = createEars(logger);
  const tellOfLost = throttle((topic: string) => logger.warn({ topic }, "nothing was relayed: Redis is away"));
  const stack = new AsyncDisposableStack();
  const listener = createRedisListener({ target, prefix: PREFIX, topics: ears.topics, hear: ears.tell, logger });
  let sender: Promise<ReturnType<typeof createSender>> | undefined;
  let listening: Promise<unknown> | undefined;

  async function connectSender(): Promise<ReturnType<typeof createSender>> {
    const redis = stack.adopt(createSender(target), (opened) => opened.disconnect());
    redis.on("error", () => logger.debug("the relay's sender lost its connection"));
    await attempted(redis);
    return redis;
  }

  return {
    async publish(topic, text) {
      if (stack.disposed) throw relaysClosed();
      assertRelay(topic, text);
      sender ??= connectSender();
      const redis = await sender;
      // Not the error itself: it contains the command, and so what was sent.
      await redis.publish(PREFIX + topic, text).catch(() => tellOfLost(topic));
    },
    async subscribe(topic, hear) {
      if (stack.disposed) throw relaysClosed();
      const remove = ears.add(topic, hear);
      listening ??= startLine({ ...options, open: listener.open, onOpen: () => undefined }).then((line) =>
        stack.use(line),
      );
      await listening;
      await listener.add(topic);
      return {
        [Symbol.asyncDispose]: async () => {
          if (remove()) await listener.remove(topic);
        },
      };
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}
