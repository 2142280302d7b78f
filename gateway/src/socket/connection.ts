/**
 * One WebSocket: writing, keepalive, token expiry, and the ways it ends. `peer.ts` interprets the messages;
 * `socket-server.ts` decides who may connect.
 */
import { type AppError, isAppError } from "@continuo/errors";
import type { Logger } from "@continuo/process";
import { CloseCode } from "graphql-ws";
import type { Socket } from "node:net";
import { type RawData, WebSocket } from "ws";
import { logRefusal } from "../refusals.ts";
import { createPingRounds, type PingRounds, type Visited } from "../rounds.ts";
import { countClosed } from "../stream-metrics.ts";

/** An open socket. */
interface Upgraded {
  readonly socket: ConnectedSocket;
  /** The underlying TCP stream, which knows how much has been sent. */
  readonly stream: Socket;
  /** The id of the upgrade request. */
  readonly requestId: string;
}

/** Handles the socket's messages. */
export interface Speaker {
  /** Handles a message. What it throws determines how the socket is closed. */
  hear(text: string): void;
  /** The socket has closed. */
  gone(): void;
}

/** State and settings that all connections share. */
export interface SharedState {
  readonly open: Set<ConnectedSocket>;
  readonly pings: PingRounds;
  /** How long a client may take to send `connection_init`. Milliseconds. */
  readonly initWithinMs: number;
  /** How long a client may take to answer a close frame, reading what was sent before. Milliseconds. */
  readonly closeWithinMs: number;
  readonly logger: Logger;
}

/** A socket that refers to its connection, so that all sockets share their listeners. */
export class ConnectedSocket extends WebSocket {
  connection: Connection | undefined;
}

/** Close code: the server is going away; stock clients reconnect. */
const GOING_AWAY = 1001;
/** Close code: try again later; stock clients do. */
const TRY_AGAIN = 1013;
const INIT_WITHIN_MS = 3_000;
const CLOSE_WITHIN_MS = 10_000;
/** The most unsent data for a client that requests more than it reads: many times the largest event. Bytes. */
const MAX_WAITING_BYTES = 16 * 1024 * 1024;
/** The same before the client has authenticated. Bytes. */
const MAX_WAITING_BEFORE_INIT = 64 * 1024;
/** RFC 6455 section 5.5. */
const MAX_REASON_BYTES = 123;

/**
 * Creates what connections share. A client is cut off if it sends nothing, not even a pong, or reads nothing, from one
 * ping to the next.
 */
export function createSharedState(options: {
  pingEveryMs: number;
  initWithinMs?: number;
  closeWithinMs?: number;
  logger: Logger;
}): SharedState {
  const { pingEveryMs, initWithinMs = INIT_WITHIN_MS, closeWithinMs = CLOSE_WITHIN_MS, logger } = options;
  return { open: new Set(), pings: createPingRounds(pingEveryMs), initWithinMs, closeWithinMs, logger };
}

/** A class, because thousands of connections then share methods that would otherwise be closures for each. */
export class Connection implements Visited {
  readonly #socket: ConnectedSocket;
  readonly #stream: Socket;
  readonly #requestId: string;
  readonly #speaker: Speaker;
  readonly #shared: SharedState;
  /** Runs until `introduced`, and again from `close` on. */
  #timer: NodeJS.Timeout | undefined;
  /** Milliseconds since the epoch. */
  #expiresAt = Infinity;
  #isAlive = true;
  #rounds = 0;
  /** The bytes sent by the last ping, if more was waiting then. */
  #stalledAt: number | undefined;
  #room: PromiseWithResolvers<void> | undefined;
  #endedBy: string | undefined;

  /** Takes over an open socket. It is closed if `introduced` is not called within `initWithinMs`. */
  constructor(
    { socket, stream, requestId }: Upgraded,
    shared: SharedState,
    speakerOver: (connection: Connection) => Speaker,
  ) {
    this.#socket = socket;
    this.#stream = stream;
    this.#requestId = requestId;
    this.#shared = shared;
    this.#speaker = speakerOver(this);
    // Messages that have arrived are handled first: under load, `connection_init` may already be in the socket's
    // buffer.
    this.#timer = setTimeout(() => setImmediate(() => this.#initIsDue()), shared.initWithinMs);
    socket.connection = this;
    socket.on("message", onMessage);
    socket.on("pong", onPong);
    socket.on("error", onError);
    socket.on("close", onClose);
    shared.open.add(socket);
    shared.pings.rounds.join(this);
  }

  get isOpen(): boolean {
    return this.#socket.readyState === WebSocket.OPEN;
  }

  /** The client has sent `connection_init`. */
  introduced(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /**
   * Sends a message. A returned promise resolves when there is room for the next, so a slow client slows only its own
   * streams, and only answers that it requests and does not read pile up.
   */
  send(message: string): Promise<void> | undefined {
    if (this.#hasExpired() || !this.isOpen) return undefined;
    const most = this.#timer === undefined ? MAX_WAITING_BYTES : MAX_WAITING_BEFORE_INIT;
    if (this.#socket.bufferedAmount > most) {
      this.close(TRY_AGAIN, "TOO_SLOW");
      return undefined;
    }
    this.#socket.send(message);
    return this.#stream.writableNeedDrain ? this.#drained() : undefined;
  }

  /**
   * Closes the socket; only the first call counts. `counted` replaces `reason` in the metrics if that contains the
   * client's data.
   */
  close(code: number, reason: string, counted = reason): void {
    if (!this.isOpen) return;
    this.#endedBy = counted;
    this.#socket.close(code, Buffer.byteLength(reason) > MAX_REASON_BYTES ? "" : reason);
    // A client that does not read does not answer the close frame either.
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#socket.terminate(), this.#shared.closeWithinMs);
  }

  /** Closes with the code and reason of an error. */
  closeFor(thrown: unknown): void {
    const { logger } = this.#shared;
    if (isAppError(thrown)) {
      logRefusal(logger, thrown, { requestId: this.#requestId });
      return this.close(codeOf(thrown), closeReason(thrown), thrown.reason);
    }
    logger.error({ err: thrown, requestId: this.#requestId }, "a socket message could not be handled");
    this.close(CloseCode.InternalServerError, "INTERNAL_SERVER_ERROR");
  }

  /** Whether unsent data is waiting for a slow client. */
  get isBehind(): boolean {
    return this.#socket.bufferedAmount > 0;
  }

  /** Like `closeFor`, but immediate: waiting data is dropped, and with it the reason, which would come after it. */
  cutOffFor(why: AppError): void {
    if (this.isOpen) logRefusal(this.#shared.logger, why, { requestId: this.#requestId });
    this.#cutOff(why.reason);
  }

  /** Closes because this server is shutting down. */
  goAway(): void {
    this.close(GOING_AWAY, "GOING_AWAY");
  }

  /**
   * From `exp` (NumericDate seconds) on nothing is sent or handled, and within a second the socket closes as
   * Forbidden/TOKEN_EXPIRED. A later call replaces the deadline.
   */
  expireAt(exp: number): void {
    this.#expiresAt = exp * 1000;
  }

  visit(): void {
    if (this.#hasExpired()) return;
    this.#rounds += 1;
    if (this.#rounds < this.#shared.pings.every) return;
    this.#rounds = 0;
    this.#ping();
  }

  hear(data: RawData): void {
    this.#isAlive = true;
    if (this.#hasExpired() || !this.isOpen || !Buffer.isBuffer(data)) return;
    try {
      this.#speaker.hear(data.toString("utf8"));
    } catch (cause) {
      this.closeFor(cause);
    }
  }

  heartbeat(): void {
    this.#isAlive = true;
  }

  failed(cause: Error): void {
    this.#shared.logger.debug({ err: cause, requestId: this.#requestId }, "socket failed");
  }

  closed(): void {
    countClosed({ transport: "SOCKET", reason: this.#endedBy ?? "CLIENT" });
    clearTimeout(this.#timer);
    this.#shared.open.delete(this.#socket);
    this.#shared.pings.rounds.leave(this);
    this.#speaker.gone();
  }

  #initIsDue(): void {
    if (this.#timer === undefined) return;
    this.close(CloseCode.ConnectionInitialisationTimeout, "Connection initialisation timeout", "PROTOCOL");
  }

  #hasExpired(): boolean {
    if (Date.now() < this.#expiresAt) return false;
    this.close(CloseCode.Forbidden, "TOKEN_EXPIRED");
    return true;
  }

  #ping(): void {
    const { isBehind } = this;
    const wentOut = isBehind ? this.#stream.bytesWritten - this.#stream.writableLength : undefined;
    if (isBehind && this.#stalledAt === wentOut) return this.close(TRY_AGAIN, "TOO_SLOW");
    this.#stalledAt = wentOut;
    // A client that is behind has not reached the ping yet.
    if (!this.#isAlive && !isBehind) return this.#cutOff("SILENT");
    this.#isAlive = false;
    this.#socket.ping();
  }

  #cutOff(reason: string): void {
    this.#endedBy ??= reason;
    // Otherwise the kernel would still send what it has buffered.
    this.#stream.resetAndDestroy();
    this.#socket.terminate();
  }

  #drained(): Promise<void> {
    if (this.#room) return this.#room.promise;
    const room = Promise.withResolvers<void>();
    this.#room = room;
    this.#stream.once("drain", () => {
      this.#room = undefined;
      room.resolve();
    });
    return room.promise;
  }
}

function onMessage(this: WebSocket, data: RawData): void {
  connectionOf(this)?.hear(data);
}

function onPong(this: WebSocket): void {
  connectionOf(this)?.heartbeat();
}

function onError(this: WebSocket, cause: Error): void {
  connectionOf(this)?.failed(cause);
}

function onClose(this: WebSocket): void {
  connectionOf(this)?.closed();
}

function connectionOf(socket: WebSocket): Connection | undefined {
  return socket instanceof ConnectedSocket ? socket.connection : undefined;
}

const codeOf = ({ code }: AppError): number => (code === "UNAUTHENTICATED" ? CloseCode.Forbidden : TRY_AGAIN);

/** The reason in the close frame. */
function closeReason({ reason, details }: AppError): string {
  const endReason = details?.["endReason"];
  return typeof endReason === "string" ? `${reason}: ${endReason}` : reason;
}
