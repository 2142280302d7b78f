/** Live operations: checked and planned once per text, then a stream of completed events per subscriber. */
import { isAppError } from "@continuo/errors";
import type { Logger } from "@continuo/process";
import type { Pokes, Relays } from "@continuo/signals";
import {
  type DocumentNode,
  type ExecutionResult,
  getOperationAST,
  getVariableValues,
  GraphQLError,
  OperationTypeNode,
  type SelectionNode,
  validate,
  type VariableDefinitionNode,
} from "graphql";
import { LRUCache } from "lru-cache";
import type { GatewayContext } from "../context.ts";
import { requestFault, toGraphQLError } from "../errors.ts";
import type { Graph, SubscriptionPlan } from "../graph/graph.ts";
import type { Costs } from "../limits/cost.ts";
import type { Documents } from "../limits/documents.ts";
import { limitExceeded } from "../limits/limits.ts";
import { placeErrors } from "../subgraph/data-source.ts";
import type { Standing } from "../revocation/standing.ts";
import type { SubgraphClient } from "../subgraph/subgraph-client.ts";
import { isRecord } from "../subgraph/subgraph-error.ts";
import { type CursorReads, toCursorReads } from "./cursor-query.ts";
import { openCursorStream } from "./cursor-stream.ts";
import { type RelayReads, toRelayReads } from "./relay-query.ts";
import { openRelayStream } from "./relay-stream.ts";
import type { Sources } from "./sources.ts";
import { StreamError } from "./stream-error.ts";

/** An operation as a client sends it over a socket. */
export interface OperationRequest {
  readonly query: string;
  /** Instead of a text, its hash, as `TrustedDocuments` takes it. */
  readonly documentId?: string | undefined;
  readonly extensions?: unknown;
  readonly operationName?: string | null | undefined;
  readonly variables?: Readonly<Record<string, unknown>> | null | undefined;
}

/** An operation that may run: a stream of events, or something for the ordinary server. */
export interface PreparedOperation {
  readonly document: DocumentNode;
  /** Only a subscription has these. Its cost is that of an event. */
  readonly cost?: number;
  readonly open?: (context: GatewayContext) => Promise<AsyncIterableIterator<Event, undefined>>;
}

export interface Subscriptions {
  /** Reads, and for a subscription validates, plans, reckons and coerces the variables. Returns what is wrong instead of throwing. */
  prepare(request: OperationRequest): PreparedOperation | readonly GraphQLError[];
}

type Event = ExecutionResult<Record<string, unknown>, Record<string, unknown>>;

interface Planned {
  readonly document: DocumentNode;
  readonly subscription?: {
    readonly plan: SubscriptionPlan;
    readonly reads: CursorReads | RelayReads;
    readonly client: Pick<SubgraphClient, "graphql">;
    readonly variableDefinitions: readonly VariableDefinitionNode[];
  };
}

const RECHECK_MS = 20_000;
const GAP_SPREAD_MS = 2_000;
const MAX_VARIABLE_ERRORS = 20;
const MAX_BACKOFF_MS = 10_000;
const CACHED_TEXTS = 1_000;
const CACHED_CHARACTERS = 4 * 1024 * 1024;

/** Before every read it is asked whether the session stands, and whether its sign-in is still recent enough. */
export function createSubscriptions(options: {
  graph: Graph;
  clients: ReadonlyMap<string, Pick<SubgraphClient, "graphql">>;
  sources: Sources;
  pokes: Pokes;
  relays: Relays;
  standing: Standing;
  documents: Documents;
  costs: Costs;
  maxCost: number;
  hideSuggestions: boolean;
  logger: Logger;
  recheckMs?: number | undefined;
  backoffMs?: ((failures: number) => number) | undefined;
}): Subscriptions {
  const { graph, clients, sources, pokes, relays, standing, hideSuggestions, logger } = options;
  const { documents, costs, maxCost, recheckMs = RECHECK_MS, backoffMs = jitter } = options;
  const planned = new LRUCache<string, Planned>({
    max: CACHED_TEXTS,
    maxSize: CACHED_CHARACTERS,
    sizeCalculation: (_planned, text) => text.length,
  });

  function plan({ query, operationName }: OperationRequest): Planned | readonly GraphQLError[] {
    const document = documents.read(query);
    const operation = getOperationAST(document, operationName);
    if (!operation)
      return [requestFault("OPERATION_UNKNOWN", "The document has no such operation, or several and no name.")];
    if (operation.operation !== OperationTypeNode.SUBSCRIPTION) return { document };
    // graphql-js throws at them instead of reporting them, and the planner has no plan for them.
    if (operation.selectionSet.selections.some(isConditional))
      return [requestFault("SUBSCRIPTION_UNSUPPORTED", "A subscription's own field takes no @skip or @include.")];
    const faults = validate(graph.schema, document, undefined, { hideSuggestions });
    if (faults.length > 0) return faults.map((fault) => asFault("DOCUMENT_INVALID", fault));
    const plan = graph.planSubscription(document, operationName ?? undefined);
    const client = clients.get(plan.source.subgraph);
    if (!client) return [requestFault("SUBSCRIPTION_UNKNOWN", "This field cannot be subscribed to.")];
    const { operation: asked } = plan.source;
    const reads = toRelayReads(asked, sources.relays) ?? toCursorReads(asked, sources.cursors);
    return {
      document,
      subscription: { plan, reads, client, variableDefinitions: operation.variableDefinitions ?? [] },
    };
  }

  function planOnce(request: OperationRequest): Planned | readonly GraphQLError[] {
    const key = `${request.operationName ?? ""}\n${request.query}`;
    const known = planned.get(key);
    if (known) return known;
    try {
      const fresh = plan(request);
      if ("document" in fresh) planned.set(key, fresh);
      return fresh;
    } catch (cause) {
      if (isAppError(cause)) return [toGraphQLError(cause)];
      if (!(cause instanceof GraphQLError)) {
        logger.error({ err: cause }, "a subscription could not be planned");
        return [requestFault("SUBSCRIPTION_UNSUPPORTED", "This subscription cannot be run.")];
      }
      return ["reason" in cause.extensions ? cause : asFault("DOCUMENT_INVALID", cause)];
    }
  }

  return {
    prepare(request) {
      const ready = planOnce(request);
      if (!("document" in ready)) return ready;
      const { document, subscription } = ready;
      if (!subscription) return { document };
      const { errors, coerced } = getVariableValues(
        graph.schema,
        subscription.variableDefinitions,
        request.variables ?? {},
        { maxErrors: MAX_VARIABLE_ERRORS },
      );
      if (errors) return errors.map((fault) => asFault("VARIABLES_INVALID", fault));
      const name = request.operationName ?? undefined;
      const cost = costs.of(document, name, coerced);
      if (cost > maxCost) return [toGraphQLError(limitExceeded("cost", maxCost, cost))];
      return {
        document,
        cost,
        open: (context) =>
          open(subscription, coerced, context, () => graph.access.assert(document, name, context.session)),
      };
    },
  };

  function open(
    { plan, reads, client }: NonNullable<Planned["subscription"]>,
    variables: Readonly<Record<string, unknown>>,
    context: GatewayContext,
    assertAccess: () => void,
  ): Promise<AsyncIterableIterator<Event, undefined>> {
    const { caller, session } = context;
    if (caller.kind !== "viewer" || !session) throw new Error("a subscription has a signed-in caller");
    const { viewer } = caller;

    /** Asks the owner as the viewer, with `own` variables beside the client's. */
    const ask = async (own: Readonly<Record<string, unknown>>, signal: AbortSignal) => {
      await standing.assert(session, "READ");
      assertAccess();
      const asked = { ...pick(variables, reads.variableNames), ...own };
      const scope = { ...context, signal };
      const { operationName } = plan.source;
      const { data, errors } = await client.graphql({ query: reads.text, variables: asked, operationName }, scope);
      return {
        batch: data?.[reads.responseKey],
        event: () => plan.complete({ data: data ?? {}, errors }, variables, scope),
        fault: () => new StreamError(placeErrors({ errors }, reads.text, asked)),
      };
    };

    if ("relay" in reads)
      return openRelayStream({
        listen: (hear) => relays.subscribe(reads.relay.topic(viewer), hear),
        async read(sealed, signal) {
          const { batch, event, fault } = await ask({ [reads.variable]: sealed }, signal);
          if (!Array.isArray(batch)) throw fault();
          return { isEmpty: batch.length === 0, event };
        },
        isOutage,
      });

    return openCursorStream({
      cursor: reads.cursorOf(variables),
      async read(cursor, signal) {
        const { batch, event, fault } = await ask({ [reads.cursorVariable]: cursor }, signal);
        const to = isRecord(batch) ? batch[reads.toKey] : undefined;
        if (!isRecord(batch) || typeof to !== "string") throw fault();
        return { to, hasMore: batch[reads.hasMoreKey] === true, event };
      },
      isOutage,
      listen: (listener) => pokes.subscribe(reads.source.topic(viewer), listener),
      recheckMs,
      gapSpreadMs: GAP_SPREAD_MS,
      backoffMs: (failures, thrown) => Math.max(backoffMs(failures), retryAfterMs(thrown)),
    });
  }
}

function isConditional({ directives }: SelectionNode): boolean {
  return directives?.some(({ name }) => name.value === "skip" || name.value === "include") ?? false;
}

function isOutage(thrown: unknown): boolean {
  return thrown instanceof StreamError ? thrown.isOutage : isAppError(thrown) && thrown.code === "UNAVAILABLE";
}

/** When an owner that has too much to do asks to be left alone until; else 0. Milliseconds. */
function retryAfterMs(thrown: unknown): number {
  return thrown instanceof StreamError ? thrown.retryAfterMs : 0;
}

function asFault(reason: string, { message, nodes, source, positions }: GraphQLError): GraphQLError {
  return new GraphQLError(message, {
    nodes: nodes ?? null,
    source: source ?? null,
    positions: positions ?? null,
    extensions: { code: "BAD_USER_INPUT", reason },
  });
}

function pick(from: Readonly<Record<string, unknown>>, names: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(names.filter((name) => Object.hasOwn(from, name)).map((name) => [name, from[name]]));
}

/** Full jitter, so that replicas do not return to a recovering owner in step. */
function jitter(failures: number): number {
  return 50 + Math.random() * Math.min(MAX_BACKOFF_MS, 250 * 2 ** failures);
}
