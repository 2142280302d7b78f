/**
 * The asking side: a few sockets to one subgraph. When none is open, or all are busy, the caller uses HTTP instead and
 * a socket is opened meanwhile; a subgraph that accepts no sockets is simply asked over HTTP.
 */
import type { Logger } from "@continuo/process";
import { type Asked, connect, type Connection, type AskOptions, SocketLost } from "./connection.ts";

export { SocketLost };

export interface OperationSockets extends AsyncDisposable {
  /** How many are open. */
  readonly open: number;
  /**
   * Asks over a socket; undefined when no socket takes it. Returns the answer unchanged. Rejects with SocketLost when
   * it is not known whether the request arrived, and with another error on timeout or when nobody waits any more.
   */
  ask(request: Asked, headers: Readonly<Record<string, string>>, patience: AskOptions): Promise<unknown> | undefined;
}

/** Few, because messages sent together are written together; more than one, because several replicas may share an address. */
const SOCKETS = 2;
const PING_EVERY_MS = 12_000;
/** After this, a socket makes room for a new one, which may reach a replica added since. */
const MAX_AGE_MS = 5 * 60_000;
const RETRY_MS = 1_000;
const MAX_RETRY_MS = 60_000;

/** Sockets to the subgraph at base `url`; opens none before the first operation. `headers` identify us, once per socket. */
export function openOperationSockets(options: {
  url: string;
  headers: () => Promise<Readonly<Record<string, string>>>;
  logger: Logger;
  pingEveryMs?: number | undefined;
  maxAgeMs?: number | undefined;
}): OperationSockets {
  const { url, headers, logger, pingEveryMs = PING_EVERY_MS, maxAgeMs = MAX_AGE_MS } = options;
  const sockets = new Set<Connection>();
  let isOpening = false;
  let isClosed = false;
  let retryAt = 0;
  let retryMs = RETRY_MS;

  async function openOne(): Promise<void> {
    isOpening = true;
    try {
      const socket = await connect({ url, headers: await headers(), pingEveryMs, logger });
      retryMs = RETRY_MS;
      if (isClosed) return await socket.close();
      void keep(socket);
    } catch (cause) {
      logger.debug({ err: cause, retryMs }, "no socket to the subgraph could be opened");
      retryAt = performance.now() + retryMs;
      retryMs = Math.min(2 * retryMs, MAX_RETRY_MS);
    } finally {
      isOpening = false;
    }
  }

  async function keep(socket: Connection): Promise<void> {
    sockets.add(socket);
    // Jittered, so that sockets do not all retire at once.
    const age = setTimeout(() => socket.retire(), maxAgeMs * (0.75 + Math.random() / 2));
    await socket.closed;
    clearTimeout(age);
    sockets.delete(socket);
  }

  /** The least busy socket that has room; opens another if there are too few. */
  function choose(): Connection | undefined {
    let chosen: Connection | undefined;
    let open = 0;
    for (const socket of sockets) {
      if (!socket.isOpen) continue;
      open += 1;
      if (socket.hasRoom && (!chosen || socket.underWay < chosen.underWay)) chosen = socket;
    }
    if (open < SOCKETS && !isOpening && performance.now() >= retryAt) void openOne();
    return chosen;
  }

  return {
    get open() {
      return [...sockets].filter(({ isOpen }) => isOpen).length;
    },
    ask: (request, headers, patience) => (isClosed ? undefined : choose()?.ask(request, headers, patience)),
    async [Symbol.asyncDispose]() {
      isClosed = true;
      await Promise.all([...sockets].map((socket) => socket.close()));
    },
  };
}
