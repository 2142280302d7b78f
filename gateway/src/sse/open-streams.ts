/** The open streamed responses of this gateway, each registered with its session, so that it ends with it. */
import type { AccessTokenClaims } from "@continuo/access";
import type { GraphQLFormattedError } from "graphql";
import { formatGraphQLError, toGraphQLError } from "../errors.ts";
import { type Operation, toJson } from "../operations.ts";
import type { SessionStream, StreamRegistry } from "../revocation/stream-registry.ts";
import { createPingRounds } from "../rounds.ts";
import { countEvent, type StreamTransport } from "../stream-metrics.ts";
import { createEventStream, type EventStream } from "./event-stream.ts";
import type { Framing } from "./framing.ts";

export interface OpenStreams extends Disposable {
  /** Opens a stream. `lastWords` frames the final error for its client. Throws as `StreamRegistry.add` does. */
  open(
    claims: AccessTokenClaims,
    as: { framing: Framing; requestId: string; lastWords: (why: GraphQLFormattedError) => string },
  ): EventStream;
}

const PING_EVERY_MS = 12_000;

/** Creates an empty collection. Disposal tells the clients of open streams to reconnect elsewhere. */
export function createOpenStreams(options: {
  registry: StreamRegistry;
  pingEveryMs?: number | undefined;
}): OpenStreams {
  const { registry, pingEveryMs = PING_EVERY_MS } = options;
  const open = new Set<EventStream>();
  const pings = createPingRounds(pingEveryMs);

  return {
    open(claims, { framing, requestId, lastWords }) {
      const session: SessionStream = {
        transport: framing.transport,
        session: claims,
        end: (why) => stream.endAtOnce(lastWords(formatGraphQLError(toGraphQLError(why), requestId)), why.reason),
      };
      const stream = createEventStream({ framing, exp: claims.exp, pings });
      try {
        registry.add(session);
      } catch (cause) {
        stream.body.destroy();
        throw cause;
      }
      open.add(stream);
      stream.signal.addEventListener("abort", () => {
        registry.remove(session);
        open.delete(stream);
      });
      return stream;
    },
    [Symbol.dispose]() {
      for (const stream of open) stream.interrupt("GOING_AWAY");
    },
  };
}

/**
 * Runs an operation and passes each result to `next` as JSON, until it ends or `signal` aborts because the client left.
 * Throws what the operation throws.
 */
export async function runOperation(
  operation: Operation,
  signal: AbortSignal,
  as: { transport: StreamTransport; requestId: string; next: (result: string) => Promise<void> },
): Promise<void> {
  const { transport, requestId, next } = as;
  if ("answer" in operation) return next(JSON.stringify(await operation.answer(signal)));
  if (signal.aborted) return;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const stream = operation.open({
    next(event) {
      countEvent({ transport });
      return next(toJson(event, requestId));
    },
    complete: resolve,
    fail: reject,
  });
  signal.addEventListener("abort", () => {
    stream.close();
    resolve();
  });
  return promise;
}
