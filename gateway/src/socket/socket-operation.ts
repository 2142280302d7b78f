/** An operation that a socket runs, until it ends or its client cancels it; then its id may be reused. */
import type { Logger } from "@continuo/process";
import type { ExecutionResult, GraphQLError } from "graphql";
import { MessageType, stringifyMessage } from "graphql-ws";
import { randomUUID } from "node:crypto";
import { formatGraphQLErrors } from "../errors.ts";
import { type Operation, toJson } from "../operations.ts";
import { countEvent } from "../stream-metrics.ts";
import type { Stream, Subscriber } from "../subscription/stream.ts";
import { lastWords } from "../subscription/stream-error.ts";
import type { Connection } from "./connection.ts";

const SOCKET = { transport: "SOCKET" } as const;

/** A class, because thousands of operations then share methods that would otherwise be closures for each. */
export class SocketOperation implements Subscriber<ExecutionResult> {
  readonly id: string;
  readonly requestId = randomUUID();
  readonly #owner: { forget(operation: SocketOperation): void };
  readonly #connection: Connection;
  readonly #logger: Logger;
  #stream: Stream | undefined;
  #isOver = false;

  constructor(id: string, owner: { forget(operation: SocketOperation): void }, connection: Connection, logger: Logger) {
    this.id = id;
    this.#owner = owner;
    this.#connection = connection;
    this.#logger = logger;
  }

  /** Runs the operation that `prepare` returns. A failure ends this operation only. */
  async run(prepare: () => Promise<Operation | readonly GraphQLError[]>): Promise<void> {
    try {
      const operation = await prepare();
      if (this.#isOver) return;
      if (!("document" in operation)) return this.#refuse(operation);
      if ("open" in operation) {
        this.#stream = operation.open(this);
        return;
      }
      const leaving = new AbortController();
      this.#stream = { close: () => leaving.abort() };
      const answer = await operation.answer(leaving.signal);
      if (this.#isOver) return;
      void this.#connection.send(this.#nextOf(JSON.stringify(answer)));
      this.complete();
    } catch (cause) {
      this.fail(cause);
    }
  }

  next(event: ExecutionResult): Promise<void> | undefined {
    if (this.#isOver) return undefined;
    countEvent(SOCKET);
    const json = toJson(event, this.requestId);
    return this.#connection.send(this.#nextOf(json));
  }

  complete(): void {
    if (this.#isOver) return;
    this.leave();
    void this.#connection.send(stringifyMessage({ id: this.id, type: MessageType.Complete }));
  }

  fail(thrown: unknown): void {
    if (!this.#isOver) this.#refuse(lastWords(thrown, this.#logger.child({ requestId: this.requestId })));
  }

  /** Ends the operation without a further message. */
  leave(): void {
    this.#isOver = true;
    this.#stream?.close();
    this.#owner.forget(this);
  }

  #refuse(errors: readonly GraphQLError[]): void {
    this.leave();
    const payload = formatGraphQLErrors(errors, this.requestId);
    void this.#connection.send(stringifyMessage({ id: this.id, type: MessageType.Error, payload }));
  }

  #nextOf(payload: string): string {
    return `{"id":${JSON.stringify(this.id)},"type":"${MessageType.Next}","payload":${payload}}`;
  }
}
