/** Live operations: a stream of completed events per subscriber, over whatever graph serves. */
import { isAppError } from "@continuo/errors";
import type { Logger } from "@continuo/process";
import type { Pokes, Relays } from "@continuo/signals";
import type { DocumentNode, ExecutionResult, GraphQLError } from "graphql";
import type { GatewayContext } from "../context.ts";
import type { Graph, LiveGraph } from "../graph/graph.ts";
import type { Documents } from "../limits/documents.ts";
import type { Standing } from "../revocation/standing.ts";
import { placeErrors } from "../subgraph/data-source.ts";
import type { SubgraphClient } from "../subgraph/subgraph-client.ts";
import { openCursorStream } from "./cursor-stream.ts";
import { createReadings, type Reading } from "./readings.ts";
import { openRelayStream } from "./relay-stream.ts";
import { createRuns, type OperationRequest, type Run, sourceOf } from "./run.ts";
import { sharedCallerOf } from "./scope.ts";
import { StreamError } from "./stream-error.ts";
import { createStreamedOperations, openStreamedEvents } from "./streamed.ts";

/** An operation that may run: a stream of events, or something for the ordinary server. */
export type PreparedOperation =
  | { readonly document: DocumentNode }
  | {
      readonly document: DocumentNode;
      /** In which it is valid. */
      readonly graph: Graph;
      /** Of an event. */
      readonly cost: number;
      readonly open: (context: GatewayContext) => Promise<AsyncIterableIterator<Event, undefined>>;
    };

export interface Subscriptions {
  /** Reads, and for a subscription validates, plans, reckons and coerces the variables. Returns what is wrong instead of throwing. */
  prepare(request: OperationRequest): PreparedOperation | readonly GraphQLError[];
}

type Event = ExecutionResult<Record<string, unknown>, Record<string, unknown>>;

const RECHECK_MS = 20_000;
const GAP_SPREAD_MS = 2_000;
const MAX_BACKOFF_MS = 10_000;

/** Before every read it is asked whether the session stands, and whether its sign-in is still recent enough. */
export function createSubscriptions(options: {
  graph: Pick<LiveGraph, "current">;
  clients: ReadonlyMap<string, Pick<SubgraphClient, "graphql" | "subscribe">>;
  pokes: Pokes;
  relays: Relays;
  standing: Standing;
  documents: Documents;
  maxCost: number;
  hideSuggestions: boolean;
  logger: Logger;
  recheckMs?: number | undefined;
  backoffMs?: ((failures: number) => number) | undefined;
}): Subscriptions {
  const { pokes, relays, standing, recheckMs = RECHECK_MS, backoffMs = jitter } = options;
  const readings = createReadings();
  const joinStreamed = createStreamedOperations({ backoffMs });
  const runs = createRuns(options);

  return {
    prepare(request) {
      const ready = runs.prepare(request);
      if (!("document" in ready)) return ready;
      const { document, run } = ready;
      if (!run) return { document };
      return { document, graph: run.graph, cost: run.cost, open: (context) => open(run, request, context) };
    },
  };

  async function open(
    first: Run,
    request: OperationRequest,
    context: GatewayContext,
  ): Promise<AsyncIterableIterator<Event, undefined>> {
    const { caller, session } = context;
    if (caller.kind !== "viewer" || !session) throw new Error("a subscription has a signed-in caller");
    const { viewer } = caller;
    const { reads } = first.subscription;
    let run = first;

    /** Goes over to the graph that serves now, and says whether it is another. Throws when the viewer may not have this. */
    const renew = async (): Promise<boolean> => {
      await standing.assert(session, "READ");
      const former = run;
      run = runs.renew(former, request, viewer);
      run.graph.access.assert(run.document, request.operationName ?? undefined, session);
      return run !== former;
    };

    if ("streamed" in reads) {
      const question = reads.questionOf(first.variables);
      const { plan, client } = first.subscription;
      const { scope, shared } = reads.streamed;
      const alike = sharedCallerOf(scope, viewer) ?? { caller, key: JSON.stringify(caller) };
      // Others may have joined it.
      const lasting = { caller: alike.caller, requestId: context.requestId };
      return openStreamedEvents({
        join: joinStreamed({
          sessionId: viewer.sessionId,
          key: shared ? JSON.stringify([alike.key, plan.source.subgraph, question]) : undefined,
          begin: (sink) => client.subscribe(question, lasting, sink),
        }),
        async complete({ data, errors }, signal) {
          await renew();
          const placed = placeErrors({ errors }, question.query, question.variables);
          const event = { data: data ?? {}, errors: placed };
          return run.subscription.plan.complete(event, run.variables, { ...context, signal });
        },
      });
    }

    const source = sourceOf(reads);
    let ask = readings.of(run, context, viewer);

    /** Asks the owner by the plan of the graph that serves now. */
    const read = async (position: unknown, signal: AbortSignal): Promise<Reading> => {
      if (await renew()) ask = readings.of(run, context, viewer);
      return ask(position, signal);
    };

    if ("relay" in reads)
      return openRelayStream({
        listen: (hear) => relays.subscribe(source.topic(viewer), hear),
        async read(sealed, signal) {
          const { batch, event, fault } = await read(sealed, signal);
          if (!Array.isArray(batch)) throw fault();
          return { isEmpty: batch.length === 0, event };
        },
        isOutage,
      });

    return openCursorStream({
      cursor: reads.cursorOf(first.variables),
      async read(cursor, signal) {
        const { to, hasMore = false, event, fault } = await read(cursor, signal);
        if (to === undefined) throw fault();
        return { to, hasMore, event };
      },
      isOutage,
      listen: (listener) => pokes.subscribe(source.topic(viewer), listener),
      recheckMs,
      gapSpreadMs: GAP_SPREAD_MS,
      backoffMs: (failures, thrown) => Math.max(backoffMs(failures), retryAfterMs(thrown)),
    });
  }
}

function isOutage(thrown: unknown): boolean {
  return thrown instanceof StreamError ? thrown.isOutage : isAppError(thrown) && thrown.code === "UNAVAILABLE";
}

/** When an owner that has too much to do asks to be left alone until; else 0. Milliseconds. */
function retryAfterMs(thrown: unknown): number {
  return thrown instanceof StreamError ? thrown.retryAfterMs : 0;
}

/** Full jitter, so that replicas do not return to a recovering owner in step. */
function jitter(failures: number): number {
  return 50 + Math.random() * Math.min(MAX_BACKOFF_MS, 250 * 2 ** failures);
}
