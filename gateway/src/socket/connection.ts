/**
 * One WebSocket: text out, keepalive, expiry, and the ways it ends.
 * What the messages mean is told in `peer.ts`, who may speak is decided in `socket-server.ts`.
 */
import { type AppError, isAppError } from "@continuo/errors";
import type { Logger } from "@continuo/process";
import { CloseCode } from "graphql-ws";
import type { Socket } from "node:net";
import { type RawData, WebSocket } from "ws";
import { logRefusal } from "../refusals.ts";
import { createPingRounds, type PingRounds, type Visited } from "../rounds.ts";
import { countClosed } from "../stream-metrics.ts";

/** A socket that has been opened. */
interface Upgraded {
  readonly socket: ConnectedSocket;
  /** Beneath the socket: it knows what has gone out. */
  readonly stream: Socket;
  /** Of the request that opened it. */
  readonly requestId: string;
}

/** Who speaks over it. */
export interface Speaker {
  /** A message has come. What it throws says how the socket ends. */
  hear(text: string): void;
  /** It is closed. */
  gone(): void;
}

/** The same for all connections. */
export interface Keeping {
  readonly open: Set<ConnectedSocket>;
  readonly pings: PingRounds;
  /** For so long a client may take to say who it is. Milliseconds. */
  readonly initWithinMs: number;
  /** For so long whoever has been told that it ends may read on, and take leave. Milliseconds. */
  readonly closeWithinMs: number;
  readonly logger: Logger;
}

/** A socket that says whose it is, so that all have their listeners in common. */
export class ConnectedSocket extends WebSocket {
  connection: Connection | undefined;
}

/** The server is going away; stock clients reconnect. */
const GOING_AWAY = 1001;
/** Try again later; stock clients do. */
const TRY_AGAIN = 1013;
const INIT_WITHIN_MS = 3_000;
const CLOSE_WITHIN_MS = 10_000;
/** What may wait for a client that sends more than it reads: many times the greatest event. Bytes. */
const MAX_WAITING_BYTES = 16 * 1024 * 1024;
/** The same of whoever has not said yet who it is. */
const MAX_WAITING_BEFORE_INIT = 64 * 1024;
/** RFC 6455 section 5.5. */
const MAX_REASON_BYTES = 123;

/**
 * Keeps connections: a client that sends nothing, not even the answer to a ping, is cut off, and so is one that reads nothing
 * from one ping to the next.
 */
export function keepConnections(options: {
  pingEveryMs: number;
  initWithinMs?: number;
  closeWithinMs?: number;
  logger: Logger;
}): Keeping {
  const { pingEveryMs, initWithinMs = INIT_WITHIN_MS, closeWithinMs = CLOSE_WITHIN_MS, logger } = options;
  return { open: new Set(), pings: createPingRounds(pingEveryMs), initWithinMs, closeWithinMs, logger };
}

/** A class, as thousands have in common what each would otherwise hold as closures of its own. */
export class Connection implements Visited {
  readonly #socket: ConnectedSocket;
  readonly #stream: Socket;
  readonly #requestId: string;
  readonly #speaker: Speaker;
  readonly #keeping: Keeping;
  /** Until its introduction, and from its closing on. */
  #timer: NodeJS.Timeout | undefined;
  /** Milliseconds since the epoch. */
  #expiresAt = Infinity;
  #isAlive = true;
  #rounds = 0;
  /** Bytes that had gone out at the last ping, where more was waiting. */
  #stalledAt: number | undefined;
  #room: PromiseWithResolvers<void> | undefined;
  #endedBy: string | undefined;

  /** Takes over an open socket. It is closed when it is not `introduced` soon. */
  constructor(
    { socket, stream, requestId }: Upgraded,
    keeping: Keeping,
    speakerOver: (connection: Connection) => Speaker,
  ) {
    this.#socket = socket;
    this.#stream = stream;
    this.#requestId = requestId;
    this.#keeping = keeping;
    this.#speaker = speakerOver(this);
    // What has come is read first: where many come at once, it may be here before we are.
    this.#timer = setTimeout(() => setImmediate(() => this.#initIsDue()), keeping.initWithinMs);
    socket.connection = this;
    socket.on("message", onMessage);
    socket.on("pong", onPong);
    socket.on("error", onError);
    socket.on("close", onClose);
    keeping.open.add(socket);
    keeping.pings.rounds.join(this);
  }

  get isOpen(): boolean {
    return this.#socket.readyState === WebSocket.OPEN;
  }

  /** It has said who it is. */
  introduced(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /**
   * Sends a message. What it returns, if anything, resolves when there is room for the next: so a slow client slows its own
   * streams down, and nothing piles up but what it asks for and does not read.
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

  /** The first close counts. `counted` stands for a reason that has something of this client in it. */
  close(code: number, reason: string, counted = reason): void {
    if (!this.isOpen) return;
    this.#endedBy = counted;
    this.#socket.close(code, Buffer.byteLength(reason) > MAX_REASON_BYTES ? "" : reason);
    // Whoever does not read does not answer a close either.
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#socket.terminate(), this.#keeping.closeWithinMs);
  }

  /** Closes for a fault, with its code and reason. */
  closeFor(thrown: unknown): void {
    const { logger } = this.#keeping;
    if (isAppError(thrown)) {
      logRefusal(logger, thrown, { requestId: this.#requestId });
      return this.close(codeOf(thrown), closeReason(thrown), thrown.reason);
    }
    logger.error({ err: thrown, requestId: this.#requestId }, "a socket message could not be handled");
    this.close(CloseCode.InternalServerError, "INTERNAL_SERVER_ERROR");
  }

  /** Whether something waits for its client, who is slow. */
  get isBehind(): boolean {
    return this.#socket.bufferedAmount > 0;
  }

  /** As `closeFor`, at once: what waits for its client is not sent, and so the reason neither, which would come after it. */
  cutOffFor(why: AppError): void {
    if (this.isOpen) logRefusal(this.#keeping.logger, why, { requestId: this.#requestId });
    this.#cutOff(why.reason);
  }

  /** Closes because this server is going away. */
  goAway(): void {
    this.close(GOING_AWAY, "GOING_AWAY");
  }

  /**
   * Nothing is told or heard from `exp` (NumericDate seconds) on, and within a second it closes as Forbidden/TOKEN_EXPIRED.
   * The latest word counts.
   */
  expireAt(exp: number): void {
    this.#expiresAt = exp * 1000;
  }

  visit(): void {
    if (this.#hasExpired()) return;
    this.#rounds += 1;
    if (this.#rounds < this.#keeping.pings.every) return;
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
    this.#keeping.logger.debug({ err: cause, requestId: this.#requestId }, "socket failed");
  }

  closed(): void {
    countClosed({ transport: "SOCKET", reason: this.#endedBy ?? "CLIENT" });
    clearTimeout(this.#timer);
    this.#keeping.open.delete(this.#socket);
    this.#keeping.pings.rounds.leave(this);
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
    // Whoever is behind has not come to the ping yet.
    if (!this.#isAlive && !isBehind) return this.#cutOff("SILENT");
    this.#isAlive = false;
    this.#socket.ping();
  }

  #cutOff(reason: string): void {
    this.#endedBy ??= reason;
    // The machine would still send what it has taken over.
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

/** Why a session's socket is closed, in the words of a close frame. */
function closeReason({ reason, details }: AppError): string {
  const endReason = details?.["endReason"];
  return typeof endReason === "string" ? `${reason}: ${endReason}` : reason;
}
