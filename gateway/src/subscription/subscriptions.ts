/** Live operations: a stream of completed events per subscriber, which moves to each new graph. */
import type { AccessTokenClaims, Viewer } from "@continuo/access";
import { isAppError } from "@continuo/errors";
import type { Logger } from "@continuo/process";
import type { PokeListener, Pokes, Relays } from "@continuo/signals";
import type { DocumentNode, ExecutionResult, GraphQLError } from "graphql";
import type { GatewayContext } from "../context.ts";
import type { Graph, LiveGraph } from "../graph/graph.ts";
import type { Documents } from "../limits/documents.ts";
import type { Standing } from "../revocation/standing.ts";
import { createRounds, type Visited } from "../rounds.ts";
import { placeErrors } from "../subgraph/data-source.ts";
import type { SubgraphClient } from "../subgraph/subgraph-client.ts";
import { type CursorPage, type CursorSource, openCursorStream, type Waiting } from "./cursor-stream.ts";
import { type Asking, createReadings, type Reading, type Readings } from "./readings.ts";
import { openRelayStream } from "./relay-stream.ts";
import { createRuns, type OperationRequest, type Run, type Runs, topicOf } from "./run.ts";
import { sharedCallerOf } from "./scope.ts";
import type { Stream, Subscriber } from "./stream.ts";
import { StreamError } from "./stream-error.ts";
import { createStreamedOperations, openStreamedEvents } from "./streamed.ts";
import type { StreamedReads } from "./streamed-query.ts";

/** A prepared operation: a stream of events, or a document for the ordinary server. */
export type PreparedOperation =
  | { readonly document: DocumentNode }
  | {
      readonly document: DocumentNode;
      /** The graph on which it was validated. */
      readonly graph: Graph;
      /** The cost of one event. */
      readonly cost: number;
      readonly open: (context: GatewayContext, subscriber: Subscriber<Event>) => Stream;
    };

export interface Subscriptions {
  /**
   * Parses an operation; validates, plans and costs a subscription and coerces its variables. Returns errors instead of
   * throwing.
   */
  prepare(request: OperationRequest): PreparedOperation | readonly GraphQLError[];
}

type Event = ExecutionResult<Record<string, unknown>, Record<string, unknown>>;

const RECHECK_MS = 20_000;
const GAP_SPREAD_MS = 2_000;
const MAX_BACKOFF_MS = 10_000;

/**
 * Before every read, checks that the session is still valid and meets the access policy, for example that its sign-in
 * is still recent enough.
 */
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
  const joinStreamed = createStreamedOperations({ backoffMs });
  const runs = createRuns(options);
  const shared: Shared = { graph: options.graph, runs, readings: createReadings(), standing, pokes };
  const rechecks = createRounds(recheckMs / 2);
  const cursorStreams = {
    isOutage,
    rechecks,
    gapSpreadMs: GAP_SPREAD_MS,
    backoffMs: (failures: number, thrown: unknown) => Math.max(backoffMs(failures), retryAfterMs(thrown)),
  };

  return {
    prepare(request) {
      const ready = runs.prepare(request);
      if (!("document" in ready)) return ready;
      const { document, run } = ready;
      if (!run) return { document };
      return {
        document,
        graph: run.graph,
        cost: run.cost,
        open: (context, subscriber) => open(run, context, subscriber),
      };
    },
  };

  function open(run: Run, context: GatewayContext, subscriber: Subscriber<Event>): Stream {
    const { caller, session } = context;
    if (caller.kind !== "viewer" || !session) throw new Error("a subscription has a signed-in caller");
    const { reads } = run.subscription;
    const live = new LiveOperation(shared, run, { caller, session, context });
    if ("streamed" in reads)
      return openFollowing(live, subscriber, (subscriber) => openStreamed(live, reads, subscriber));
    if ("relay" in reads) return openFollowing(live, subscriber, (subscriber) => openRelayed(live, subscriber));
    return openCursorStream(cursorStreams, live, reads.cursorOf(run.variables), subscriber);
  }

  /**
   * Opens a stream that reads only when something happens. The rechecks move it to the current graph meanwhile, so that
   * no former graph is kept in memory for it.
   */
  function openFollowing(
    live: LiveOperation,
    subscriber: Subscriber<Event>,
    open: (subscriber: Subscriber<Event>) => Stream,
  ): Stream {
    let isOver = false;
    function end(lastWord?: () => void): void {
      if (isOver) return;
      isOver = true;
      rechecks.leave(follower);
      lastWord?.();
    }
    function close(): void {
      end();
      stream.close();
    }
    const follower: Visited = {
      visit() {
        if (!live.isOnFormerGraph) return;
        live.renew().catch((cause: unknown) => {
          if (isOver || isOutage(cause)) return;
          close();
          subscriber.fail(cause);
        });
      },
    };
    rechecks.join(follower);
    const stream = open({
      next: (event) => subscriber.next(event),
      complete: () => end(() => subscriber.complete()),
      fail: (thrown) => end(() => subscriber.fail(thrown)),
    });
    return { close };
  }

  function openRelayed(live: LiveOperation, subscriber: Subscriber<Event>): Stream {
    return openRelayStream(
      {
        listen: (hear) => relays.subscribe(live.topic(), hear),
        async read(sealed, waiting) {
          const { batch, event, fault } = await live.ask(sealed, waiting);
          if (!Array.isArray(batch)) throw fault();
          return { isEmpty: batch.length === 0, event };
        },
        isOutage,
      },
      subscriber,
    );
  }

  function openStreamed(live: LiveOperation, reads: StreamedReads, subscriber: Subscriber<Event>): Stream {
    const { run, context, viewer } = live;
    const question = reads.questionOf(run.variables);
    const { plan, client } = run.subscription;
    const { scope, shared } = reads.streamed;
    const alike = sharedCallerOf(scope, viewer) ?? { caller: context.caller, key: JSON.stringify(context.caller) };
    // Other streams may have joined the operation.
    const lasting = { caller: alike.caller, requestId: context.requestId };
    return openStreamedEvents(
      {
        join: joinStreamed({
          sessionId: viewer.sessionId,
          key: shared ? JSON.stringify([alike.key, plan.source.subgraph, question]) : undefined,
          begin: (sink) => client.subscribe(question, lasting, sink),
        }),
        async complete({ data, errors }, signal) {
          await live.renew();
          const placed = placeErrors({ errors }, question.query, question.variables);
          const event = { data: data ?? {}, errors: placed };
          return live.run.subscription.plan.complete(event, live.run.variables, { ...context, signal });
        },
      },
      subscriber,
    );
  }
}

/** What live operations share. */
interface Shared {
  readonly graph: Pick<LiveGraph, "current">;
  readonly runs: Runs;
  readonly readings: Readings;
  readonly standing: Standing;
  readonly pokes: Pokes;
}

/** One client's subscription, on whichever graph is current. A class for the same reason as `CursorStream`. */
class LiveOperation implements CursorSource<Event>, Asking {
  readonly #shared: Shared;
  readonly #session: AccessTokenClaims;
  readonly context: GatewayContext;
  readonly viewer: Viewer;
  run: Run;
  alike: string | undefined;

  constructor(
    shared: Shared,
    run: Run,
    {
      caller,
      session,
      context,
    }: {
      caller: Extract<GatewayContext["caller"], { kind: "viewer" }>;
      session: AccessTokenClaims;
      context: GatewayContext;
    },
  ) {
    this.#shared = shared;
    this.#session = session;
    this.context = context;
    this.viewer = caller.viewer;
    this.run = run;
    this.alike = shared.readings.alike(run, this.viewer);
  }

  /** Whether another graph has become current. */
  get isOnFormerGraph(): boolean {
    return this.run.graph !== this.#shared.graph.current();
  }

  /** Moves to the current graph. Throws if the viewer may not have the subscription. */
  async renew(): Promise<void> {
    const { runs, readings, standing } = this.#shared;
    await standing.assert(this.#session, "READ");
    const run = runs.renew(this.run, this.viewer);
    run.graph.access.assert(run.document, run.request.operationName ?? undefined, this.#session);
    if (run === this.run) return;
    this.run = run;
    this.alike = readings.alike(run, this.viewer);
  }

  /** Reads from the owner by the current graph's plan. */
  async ask(position: unknown, waiting: Waiting, heard?: number): Promise<Reading> {
    await this.renew();
    return this.#shared.readings.ask(this, position, waiting, heard);
  }

  async read(cursor: string | null, waiting: Waiting, heard?: number): Promise<CursorPage<Event>> {
    const { page, fault } = await this.ask(cursor, waiting, heard);
    if (!page) throw fault();
    return page;
  }

  listen(listener: PokeListener): Promise<AsyncDisposable> {
    return this.#shared.pokes.subscribe(this.topic(), listener);
  }

  topic(): string {
    return topicOf(this.run, this.viewer);
  }
}

function isOutage(thrown: unknown): boolean {
  return thrown instanceof StreamError ? thrown.isOutage : isAppError(thrown) && thrown.code === "UNAVAILABLE";
}

/** The delay that an overloaded owner asks for; otherwise 0. Milliseconds. */
function retryAfterMs(thrown: unknown): number {
  return thrown instanceof StreamError ? thrown.retryAfterMs : 0;
}

/** Full jitter, so that replicas do not return to a recovering owner in step. */
function jitter(failures: number): number {
  return 50 + Math.random() * Math.min(MAX_BACKOFF_MS, 250 * 2 ** failures);
}
