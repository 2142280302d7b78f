/**
 * Pokes over Postgres: one LISTEN connection per process on one channel, and pg_notify on a separate connection.
 * Listeners in the publishing process are called directly, without a round trip through the database.
 * Needs no privilege beyond CONNECT, but a session of its own: not a pooler in transaction mode.
 */
import { randomBytes } from "node:crypto";
import { setImmediate as turn, setTimeout as pause } from "node:timers/promises";
import type { Logger } from "@continuo/process";
import { Pool } from "pg";
import { startLine } from "./line.ts";
import { assertPoke, createPokeListeners, pokesClosed } from "./poke-listeners.ts";
import type { Pokes } from "./pokes.ts";
import { listen } from "./postgres-listener.ts";
import { throttle } from "./throttle.ts";

const CHANNEL = "continuo_pokes";
const TIMEOUT_MS = 5_000;
/** Pause between two statements, since each wakes all listening connections, whatever their channel. Milliseconds. */
const PACE_MS = 5;

/** Starts pokes on the database at `databaseUrl`; connects by itself once the database is up. */
export async function startPostgresPokes(options: {
  databaseUrl: string;
  logger: Logger;
  probeEveryMs?: number;
}): Promise<Pokes> {
  const { databaseUrl, logger } = options;
  const connection = {
    connectionString: databaseUrl,
    application_name: "continuo-pokes",
    keepAlive: true,
    connectionTimeoutMillis: TIMEOUT_MS,
    query_timeout: TIMEOUT_MS,
  };
  const listeners = createPokeListeners(logger);
  await using stack = new AsyncDisposableStack();
  let closed = false;
  /** Prefixes our own payloads, which Postgres delivers to us too. */
  const own = `${randomBytes(6).toString("base64url")}:`;

  // Pokes may be lost, so publishing does not wait for the disk: a crash may undo one.
  const publishing = { ...connection, options: "-c synchronous_commit=off", max: 1, idleTimeoutMillis: 0 };
  const publisher = stack.adopt(new Pool(publishing), (pool) => pool.end());
  publisher.on("error", (cause) => logger.debug({ err: cause }, "the poke publisher lost its connection"));

  function hear(payload: string): void {
    if (payload.startsWith(own)) return;
    const [from, to] = [payload.indexOf(":"), payload.lastIndexOf(":")];
    if (from > 0 && to > from) listeners.poke(payload.slice(from + 1, to), payload.slice(to + 1));
  }
  stack.use(await startLine({ ...options, open: () => listen(connection, CHANNEL, hear), onOpen: listeners.gap }));

  // Pokes gather while a statement is under way: a burst costs few round trips, and the highest number wins. A flush
  // lets the listeners in this process have their turn first.
  let gathering = new Map<string, number>();
  let flushing: Promise<void> = Promise.resolve();
  const tellOfLost = throttle((about: object) => logger.warn(about, "pokes were not published"));

  async function flush(): Promise<void> {
    const payloads = [...gathering].map(([topic, number]) => `${own}${topic}:${number}`);
    gathering = new Map();
    try {
      await publisher.query({
        name: "poke",
        text: `SELECT pg_notify('${CHANNEL}', payload) FROM unnest($1::text[]) AS payload`,
        values: [payloads],
      });
    } catch (cause) {
      tellOfLost({ err: cause, lost: payloads.length });
    }
  }

  const pace = (): Promise<void> => pause(PACE_MS);

  stack.defer(() => flushing);
  stack.defer(() => {
    closed = true;
  });
  const opened = stack.move();

  return {
    publish: async (topic, number) => {
      if (closed) throw pokesClosed();
      assertPoke(topic, number);
      listeners.poke(topic, String(number));
      if (gathering.size === 0) flushing = flushing.then(turn).then(flush).then(pace);
      gathering.set(topic, Math.max(number, gathering.get(topic) ?? number));
    },
    subscribe: async (topic, listener) => {
      if (closed) throw pokesClosed();
      assertPoke(topic);
      return listeners.add(topic, listener);
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}
