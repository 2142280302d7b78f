/**
 * The single connection mode of the GraphQL over SSE protocol: one event stream for several operations. A client first
 * reserves a stream and gets a token, with which it fetches the stream and sends operations to it. A reservation is an
 * open stream without a reader, so the limits and endings of streams apply to it too. It exists only in this gateway.
 */
import { AppError } from "@continuo/errors";
import type { Logger } from "@continuo/process";
import type { GraphQLError } from "graphql";
import { randomUUID } from "node:crypto";
import type { ViewerAdmission } from "../caller.ts";
import { formatGraphQLErrors } from "../errors.ts";
import { type Operation, OPERATIONS_PER_STREAM, tooManyOperations } from "../operations.ts";
import { lastWords } from "../subscription/stream-error.ts";
import type { EventStream } from "./event-stream.ts";
import { EVENT_STREAM, operationEvents } from "./framing.ts";
import { type OpenStreams, runOperation } from "./open-streams.ts";

export interface Reservation {
  /**
   * Runs an operation; its errors are sent over the stream. Resolves when it has been prepared. Throws
   * CONFLICT/OPERATION_EXISTS; RATE_LIMITED/TOO_MANY_OPERATIONS.
   */
  run(id: string, prepare: () => Promise<Operation | readonly GraphQLError[]>, requestId: string): Promise<void>;
  /** Stops an operation silently; unknown ids are ignored. */
  stop(id: string): void;
}

export interface Reservations {
  /** Returns the token. Throws as `StreamRegistry.add` does. */
  reserve(admission: ViewerAdmission, requestId: string): string;
  /** Throws NOT_FOUND/STREAM_UNKNOWN if the stream belongs to another session or gateway, or has ended. */
  find(token: string, owner: ViewerAdmission): Reservation;
  /**
   * Returns the stream for its reader, once. The token alone authorizes this, like a ticket. Throws as `find`;
   * CONFLICT/STREAM_TAKEN.
   */
  fetch(token: string): EventStream;
}

interface Reserved extends Reservation {
  readonly sessionId: string;
  fetch(): EventStream;
}

const FETCH_WITHIN_MS = 10_000;

/** Creates an empty collection. */
export function createReservations({ streams, logger }: { streams: OpenStreams; logger: Logger }): Reservations {
  const reservations = new Map<string, Reserved>();

  function open({ claims }: ViewerAdmission, requestId: string, token: string): Reserved {
    const running = new Map<string, AbortController>();
    const stream = streams.open(claims, {
      framing: EVENT_STREAM,
      requestId,
      lastWords: (why) =>
        [...running.keys()]
          .map(operationEvents)
          .map(({ fault, complete }) => fault(why) + complete)
          .join(""),
    });
    let isFetched = false;
    const expiry = setTimeout(() => stream.interrupt("RESERVATION_EXPIRED"), FETCH_WITHIN_MS);
    stream.signal.addEventListener("abort", () => {
      clearTimeout(expiry);
      reservations.delete(token);
      for (const operation of running.values()) operation.abort();
    });

    return {
      sessionId: claims.sid,
      fetch() {
        if (isFetched) throw new AppError("CONFLICT", "STREAM_TAKEN", "This event stream is being read already.");
        isFetched = true;
        clearTimeout(expiry);
        return stream;
      },
      async run(id, prepare, asked) {
        if (running.has(id))
          throw new AppError("CONFLICT", "OPERATION_EXISTS", "An operation with this id is already running.");
        if (running.size >= OPERATIONS_PER_STREAM) throw tooManyOperations();
        const leaving = new AbortController();
        running.set(id, leaving);
        const { signal } = leaving;
        const { next, complete } = operationEvents(id);
        const send = async (text: string): Promise<void> => {
          if (!signal.aborted) await stream.send(text);
        };
        const finish = (words: string): void => {
          void send(words + complete);
          if (!signal.aborted) running.delete(id);
        };
        const refuse = (errors: readonly GraphQLError[]): void =>
          finish(next(JSON.stringify({ errors: formatGraphQLErrors(errors, asked) })));
        const operation = await prepare();
        if (signal.aborted) return;
        if (!("document" in operation)) return refuse(operation);
        const { transport } = EVENT_STREAM;
        runOperation(operation, signal, { transport, requestId: asked, next: (result) => send(next(result)) }).then(
          () => finish(""),
          (thrown: unknown) => refuse(lastWords(thrown, logger.child({ requestId: asked }))),
        );
      },
      stop(id) {
        running.get(id)?.abort();
        running.delete(id);
      },
    };
  }

  function find(token: string): Reserved {
    const reserved = reservations.get(token);
    if (!reserved) throw unknown();
    return reserved;
  }

  return {
    reserve(admission, requestId) {
      const token = randomUUID();
      reservations.set(token, open(admission, requestId, token));
      return token;
    },
    find(token, { claims }) {
      const reserved = find(token);
      if (reserved.sessionId !== claims.sid) throw unknown();
      return reserved;
    },
    fetch: (token) => find(token).fetch(),
  };
}

function unknown(): AppError {
  return new AppError("NOT_FOUND", "STREAM_UNKNOWN", "There is no such event stream here.");
}
