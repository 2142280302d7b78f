/**
 * One WebSocket: frames in and out, keepalive, expiry, and the ways it ends.
 * What the frames mean is the protocol's affair, who may speak is decided in `socket-server.ts`.
 */
import { type AppError, isAppError } from "@continuo/errors";
import type { Logger } from "@continuo/process";
import { CloseCode, MessageType, stringifyMessage, type WebSocket as Transport } from "graphql-ws";
import type { WebSocket } from "ws";
import { logRefusal } from "../refusals.ts";
import { countClosed } from "../stream-metrics.ts";

export interface Connection {
  /** What the protocol server speaks through. Sending resolves when there is room for the next message. */
  readonly transport: Omit<Transport, "send"> & { readonly send: (message: string) => Promise<void> };
  /** Sends a message now, in front of the closing that may follow. */
  send(message: string): void;
  readonly isOpen: boolean;
  /** Closes for a fault, with its code and reason. The first close counts. */
  closeFor(why: AppError): void;
  /** Closes because this server is going away. */
  goAway(): void;
  /** Closes as Forbidden/TOKEN_EXPIRED at `exp` (NumericDate seconds). The latest word counts. */
  expireAt(exp: number): void;
}

/** The server is going away; stock clients reconnect. */
const GOING_AWAY = 1001;
/** For so long whoever has been told that it ends may read on, and take leave. */
const CLOSE_WITHIN_MS = 10_000;
/** Try again later; stock clients do. */
const TRY_AGAIN = 1013;
/** What may wait for a client that sends more than it reads: many times the greatest event. Bytes. */
const MAX_WAITING_BYTES = 16 * 1024 * 1024;

/**
 * Takes over an open socket. `beforePing` may close it instead; a client that sends nothing, not even the answer to a
 * ping, is cut off, and so is one that reads nothing from one ping to the next. `answerPing` makes the payload of the pong to a client's ping of the protocol.
 */
export function createConnection(options: {
  socket: WebSocket;
  pingEveryMs: number;
  beforePing: () => void;
  answerPing: (payload: Record<string, unknown> | undefined) => Promise<Record<string, unknown> | undefined>;
  /** Of the request that opened it. */
  requestId: string;
  logger: Logger;
  closeWithinMs?: number;
}): Connection {
  const { socket, pingEveryMs, beforePing, answerPing, requestId, logger, closeWithinMs = CLOSE_WITHIN_MS } = options;
  let isAlive = true;
  let endedBy: string | undefined;
  let written = 0;
  let stalledAt: number | undefined;
  let expiry: NodeJS.Timeout | undefined;

  const keepalive = setInterval(() => {
    const isBehind = socket.bufferedAmount > 0;
    if (isBehind && stalledAt === written) return close(TRY_AGAIN, "TOO_SLOW");
    stalledAt = isBehind ? written : undefined;
    // Whoever is behind has not come to the ping yet.
    if (!isAlive && !isBehind) return cutOff();
    beforePing();
    if (socket.readyState !== socket.OPEN) return;
    isAlive = false;
    socket.ping();
  }, pingEveryMs);

  for (const sign of ["pong", "message"])
    socket.on(sign, () => {
      isAlive = true;
    });
  socket.on("error", (cause) => logger.debug({ err: cause, requestId }, "socket failed"));
  socket.once("close", () => {
    countClosed({ transport: "SOCKET", reason: endedBy ?? "CLIENT" });
    clearInterval(keepalive);
    clearTimeout(expiry);
  });

  /** `counted` stands for a reason that has something of this client in it. */
  function close(code: number, reason: string, counted = reason): void {
    if (socket.readyState !== socket.OPEN) return;
    endedBy = counted;
    socket.close(code, reason);
    // Whoever does not read does not answer a close either.
    clearTimeout(expiry);
    expiry = setTimeout(() => socket.terminate(), closeWithinMs);
  }

  function cutOff(): void {
    endedBy ??= "SILENT";
    socket.terminate();
  }

  /** What a frame's handling threw says how the socket ends. */
  function closeFor(thrown: unknown): void {
    if (isAppError(thrown)) {
      logRefusal(logger, thrown, { requestId });
      return close(codeOf(thrown), closeReason(thrown), thrown.reason);
    }
    // graphql-ws throws this for a message that only a server may send.
    if (thrown instanceof Error && thrown.message.startsWith("Unexpected message of type"))
      return close(CloseCode.BadRequest, "Invalid message received", "PROTOCOL");
    logger.error({ err: thrown, requestId }, "a socket message could not be handled");
    close(CloseCode.InternalServerError, "INTERNAL_SERVER_ERROR");
  }

  // Resolves once the message is on its way, so that a slow client slows its own streams down and nothing piles up but what
  // it asks for and does not read.
  const send = (data: string): Promise<void> =>
    new Promise((resolve, reject) => {
      if (socket.bufferedAmount > MAX_WAITING_BYTES) close(TRY_AGAIN, "TOO_SLOW");
      if (socket.readyState !== socket.OPEN) return resolve();
      socket.send(data, (cause) => {
        written += 1;
        if (cause && socket.readyState === socket.OPEN) reject(cause);
        else resolve();
      });
    });

  const transport: Connection["transport"] = {
    protocol: socket.protocol,
    send,
    async onPing(asked) {
      const payload = await answerPing(asked);
      await send(stringifyMessage({ type: MessageType.Pong, ...(payload && { payload }) }));
    },
    close: (code, reason) => close(code ?? CloseCode.InternalServerError, reason ?? "", "PROTOCOL"),
    onMessage: (handle) => {
      socket.on("message", (data) => {
        if (Buffer.isBuffer(data)) handle(data.toString("utf8")).catch(closeFor);
      });
    },
  };

  return {
    transport,
    closeFor,
    goAway: () => close(GOING_AWAY, "GOING_AWAY"),
    send(message) {
      if (socket.readyState === socket.OPEN) socket.send(message);
    },
    get isOpen() {
      return socket.readyState === socket.OPEN;
    },
    expireAt(exp) {
      clearTimeout(expiry);
      if (socket.readyState !== socket.OPEN) return;
      expiry = setTimeout(() => close(CloseCode.Forbidden, "TOKEN_EXPIRED"), Math.max(0, exp * 1000 - Date.now()));
    },
  };
}

const codeOf = ({ code }: AppError): number => (code === "UNAUTHENTICATED" ? CloseCode.Forbidden : TRY_AGAIN);

/** Why a session's socket is closed, in the words of a close frame: at most 123 bytes. */
function closeReason({ reason, details }: AppError): string {
  const endReason = details?.["endReason"];
  return typeof endReason === "string" ? `${reason}: ${endReason}` : reason;
}
