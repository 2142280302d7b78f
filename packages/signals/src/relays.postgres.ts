/**
 * Relays over Postgres: one LISTEN connection per listening process, and pg_notify for sending. A notification is
 * written to no table and its text to no write-ahead log; its queue may spill to the server's disk.
 */
import type { Logger } from "@continuo/process";
import { Pool } from "pg";
import { startLine, type OpenLine } from "./line.ts";
import { listen } from "./postgres-listener.ts";
import { assertRelay, createEars, relaysClosed, type Relays } from "./relays.ts";
import { throttle } from "./throttle.ts";

const CHANNEL = "continuo_relays";
const TIMEOUT_MS = 5_000;

/** Relays on the database at `databaseUrl`. Connects on first use, and by itself once the database is up. */
export function openPostgresRelays(options: { databaseUrl: string; logger: Logger; probeEveryMs?: number }): Relays {
  const { databaseUrl, logger } = options;
  const connection = {
    connectionString: databaseUrl,
    application_name: "continuo-relays",
    keepAlive: true,
    connectionTimeoutMillis: TIMEOUT_MS,
    query_timeout: TIMEOUT_MS,
  };
  const ears = createEars(logger);
  const tellOfLost = throttle((topic: string) => logger.warn({ topic }, "nothing was relayed: the database is away"));
  const stack = new AsyncDisposableStack();
  const sending = { ...connection, options: "-c synchronous_commit=off", max: 1, idleTimeoutMillis: 0 };
  const sender = stack.adopt(new Pool(sending), (pool) => pool.end());
  sender.on("error", () => logger.debug("the relay's sender lost its connection"));
  let listening: Promise<unknown> | undefined;

  function hear(payload: string): void {
    const space = payload.indexOf(" ");
    if (space > 0) ears.tell(payload.slice(0, space), payload.slice(space + 1));
  }
  const open = (): Promise<OpenLine> => listen(connection, CHANNEL, hear);

  return {
    async publish(topic, text) {
      if (stack.disposed) throw relaysClosed();
      assertRelay(topic, text);
      const query = { name: "relay", text: `SELECT pg_notify('${CHANNEL}', $1)`, values: [`${topic} ${text}`] };
      // Not the error itself: a driver's error may contain what was sent.
      await sender.query(query).catch(() => tellOfLost(topic));
    },
    async subscribe(topic, hear) {
      if (stack.disposed) throw relaysClosed();
      const remove = ears.add(topic, hear);
      listening ??= startLine({ ...options, open, onOpen: () => undefined }).then((line) => stack.use(line));
      await listening;
      return { [Symbol.asyncDispose]: async () => void remove() };
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}
