/**
 * The client at the other end of a socket: handles the messages of GraphQL over WebSocket (graphql-transport-ws,
 * https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md). graphql-ws parses them; its server is not used,
 * because it keeps a suspended function and its request for each operation, tracks operations by ids that clients
 * reuse, and closes the socket when an operation fails to start.
 */
import { AppError } from "@continuo/errors";
import type { Logger } from "@continuo/process";
import { CloseCode, type Message, MessageType, parseMessage, stringifyMessage } from "graphql-ws";
import type { Admissions, ViewerAdmission } from "../caller.ts";
import { type Operations, OPERATIONS_PER_STREAM, tooManyOperations } from "../operations.ts";
import type { RateLimits } from "../rate-limit/rate-limits.ts";
import type { SessionClaims } from "../revocation/standing.ts";
import type { SessionStream, StreamRegistry } from "../revocation/stream-registry.ts";
import type { OperationRequest } from "../subscription/run.ts";
import type { Connection, Speaker } from "./connection.ts";
import { admitBy, isCredential } from "./credential.ts";
import { SocketOperation } from "./socket-operation.ts";

/** What all peers share. */
export interface Host {
  readonly operations: Operations;
  readonly admissions: Admissions;
  readonly registry: StreamRegistry;
  readonly rates: Pick<RateLimits, "connection">;
  readonly logger: Logger;
}

type Payload = Record<string, unknown> | undefined;

/** A class, because thousands of peers then share methods that would otherwise be closures for each. */
export class Peer implements Speaker, SessionStream {
  readonly #host: Host;
  readonly #connection: Connection;
  readonly #network: string | undefined;
  #operations: readonly SocketOperation[] = NONE;
  #isIntroduced = false;
  #admission: ViewerAdmission | undefined;

  constructor(host: Host, connection: Connection, network: string | undefined) {
    this.#host = host;
    this.#connection = connection;
    this.#network = network;
  }

  get transport(): "SOCKET" {
    return "SOCKET";
  }

  get session(): SessionClaims {
    return this.admission.claims;
  }

  get admission(): ViewerAdmission {
    if (!this.#admission) throw new Error("a socket is registered once it has a session");
    return this.#admission;
  }

  hear(text: string): void {
    const message = read(text);
    switch (message?.type) {
      case MessageType.ConnectionInit:
        return this.#introduce(message.payload ?? undefined);
      case MessageType.Ping:
        return this.#answer(message.payload ?? undefined);
      case MessageType.Pong:
        return;
      case MessageType.Subscribe:
        return this.#begin(message.id, message.payload);
      case MessageType.Complete:
        return this.#find(message.id)?.leave();
      // Messages that only a server may send.
      case MessageType.ConnectionAck:
      case MessageType.Next:
      case MessageType.Error:
      case undefined:
        return this.#connection.close(CloseCode.BadRequest, "Invalid message received", "PROTOCOL");
    }
  }

  end(why: AppError): boolean {
    const { isOpen, isBehind } = this.#connection;
    if (isBehind) this.#connection.cutOffFor(why);
    else if (isOpen) {
      for (const operation of this.#operations) operation.fail(why);
      this.#connection.closeFor(why);
    }
    return isOpen;
  }

  gone(): void {
    if (this.#admission) this.#host.registry.remove(this);
    for (const operation of this.#operations) operation.leave();
  }

  /** Removes an operation that is over, which frees its id. */
  forget(operation: SocketOperation): void {
    this.#operations = this.#operations.filter((other) => other !== operation);
  }

  #find(id: string): SocketOperation | undefined {
    return this.#operations.find((operation) => operation.id === id);
  }

  #introduce(payload: Payload): void {
    if (this.#isIntroduced)
      return this.#connection.close(
        CloseCode.TooManyInitialisationRequests,
        "Too many initialisation requests",
        "PROTOCOL",
      );
    this.#isIntroduced = true;
    this.#connection.introduced();
    this.#admit(payload).catch((cause: unknown) => this.#connection.closeFor(cause));
  }

  async #admit(payload: Payload): Promise<void> {
    const { admissions, rates, registry } = this.#host;
    const admission = await admitBy(admissions, payload);
    await rates.connection({ sessionId: admission.claims.sid });
    // A socket that has closed meanwhile would never be removed from the registry.
    if (!this.#connection.isOpen) return;
    this.#admission = admission;
    registry.add(this);
    this.#connection.expireAt(admission.claims.exp);
    void this.#connection.send(stringifyMessage({ type: MessageType.ConnectionAck }));
  }

  #answer(payload: Payload): void {
    this.#renew(payload).then(
      (answer) =>
        this.#connection.send(stringifyMessage({ type: MessageType.Pong, ...(answer && { payload: answer }) })),
      (cause: unknown) => this.#connection.closeFor(cause),
    );
  }

  /** Returns the payload of the pong. A ping with a credential keeps the socket open for as long as that is valid. */
  async #renew(payload: Payload): Promise<Payload> {
    if (!isCredential(payload)) return payload;
    if (!this.#admission) return undefined;
    const admission = await admitBy(this.#host.admissions, payload);
    const { sid, exp } = admission.claims;
    if (sid !== this.#admission.claims.sid)
      throw new AppError("UNAUTHENTICATED", "SESSION_MISMATCH", "This socket belongs to another session.");
    this.#admission = admission;
    this.#connection.expireAt(exp);
    return { expiresIn: Math.max(0, exp - Math.floor(Date.now() / 1000)) };
  }

  #begin(id: string, request: OperationRequest): void {
    if (!this.#admission) return this.#connection.close(CloseCode.Unauthorized, "Unauthorized", "PROTOCOL");
    if (this.#find(id))
      return this.#connection.close(
        CloseCode.SubscriberAlreadyExists,
        `Subscriber for ${id} already exists`,
        "PROTOCOL",
      );
    const { operations, logger } = this.#host;
    const operation = new SocketOperation(id, this, this.#connection, logger);
    const isTooMany = this.#operations.length >= OPERATIONS_PER_STREAM;
    // Spread would allocate room for many more.
    this.#operations = this.#operations.concat(operation);
    if (isTooMany) return operation.fail(tooManyOperations());
    const sender = { admission: this.#admission, requestId: operation.requestId, network: this.#network };
    void operation.run(() => operations.prepare(request, sender));
  }
}

const NONE: readonly SocketOperation[] = [];

function read(text: string): Message | undefined {
  try {
    return parseMessage(text);
  } catch {
    return undefined;
  }
}
