/**
 * Subscriptions on a graph: validated and planned once per text, coerced and costed per client's variables, and again
 * on the next graph.
 */
import type { Viewer } from "@continuo/access";
import { AppError, isAppError } from "@continuo/errors";
import type { Logger } from "@continuo/process";
import {
  type DocumentNode,
  getOperationAST,
  getVariableValues,
  GraphQLError,
  OperationTypeNode,
  type SelectionNode,
  validate,
  type VariableDefinitionNode,
} from "graphql";
import { LRUCache } from "lru-cache";
import { asFault, requestFault, toGraphQLError } from "../errors.ts";
import type { Graph, LiveGraph, SubscriptionPlan } from "../graph/graph.ts";
import type { Documents } from "../limits/documents.ts";
import { limitExceeded, MOST_FAULTS } from "../limits/limits.ts";
import { assertNested } from "../limits/nesting.ts";
import type { SubgraphClient } from "../subgraph/subgraph-client.ts";
import { type CursorReads, toCursorReads } from "./cursor-query.ts";
import { type RelayReads, toRelayReads } from "./relay-query.ts";
import { type StreamedReads, toStreamedReads } from "./streamed-query.ts";

/** An operation as a client sends it over a socket or an event stream. */
export interface OperationRequest {
  readonly query: string;
  /** The document's hash instead of its text, as `TrustedDocuments` takes it. */
  readonly documentId?: string | undefined;
  readonly extensions?: unknown;
  readonly operationName?: string | null | undefined;
  readonly variables?: Readonly<Record<string, unknown>> | null | undefined;
}

/** The query for an owner that is read again and again. */
type Reads = CursorReads | RelayReads;
type Client = Pick<SubgraphClient, "graphql" | "subscribe">;

interface Planned {
  readonly document: DocumentNode;
  /** The request that was planned, kept once instead of each client's copy of the text. */
  readonly request: Pick<OperationRequest, "query" | "operationName">;
  /** Set for a subscription without variables. */
  run?: Run;
  readonly subscription?: {
    readonly plan: SubscriptionPlan;
    readonly reads: Reads | StreamedReads;
    readonly client: Client;
    readonly variableDefinitions: readonly VariableDefinitionNode[];
  };
}

/** A subscription on one graph; without variables, the same object for all clients that send it. */
export interface Run {
  readonly graph: Graph;
  readonly request: Pick<OperationRequest, "query" | "operationName" | "variables">;
  readonly document: DocumentNode;
  readonly subscription: NonNullable<Planned["subscription"]>;
  readonly variables: Readonly<Record<string, unknown>>;
  readonly cost: number;
}

/** `run` is set only for a subscription. */
type Prepared = { readonly document: DocumentNode; readonly run?: Run };

export interface Runs {
  /** Prepares an operation on the current graph. Returns errors instead of throwing. */
  prepare(request: OperationRequest): Prepared | readonly GraphQLError[];
  /**
   * Returns the same subscription on the current graph. Throws SCHEMA_CHANGED: BAD_USER_INPUT if it is no longer valid
   * there, CONFLICT if its events come from elsewhere.
   */
  renew(run: Run, viewer: Viewer): Run;
}

/** The most errors about variables, since each repeats a whole value. */
const MAX_VARIABLE_ERRORS = 5;
const CACHED_TEXTS = 1_000;
const CACHED_CHARACTERS = 4 * 1024 * 1024;

export function createRuns(options: {
  graph: Pick<LiveGraph, "current">;
  clients: ReadonlyMap<string, Client>;
  documents: Documents;
  maxCost: number;
  hideSuggestions: boolean;
  logger: Logger;
}): Runs {
  const { graph, clients, documents, maxCost, hideSuggestions, logger } = options;
  const plannedOn = new WeakMap<Graph, LRUCache<string, Planned>>();

  function plan(on: Graph, { query, operationName }: OperationRequest): Planned | readonly GraphQLError[] {
    const document = documents.read(query);
    const operation = getOperationAST(document, operationName);
    if (!operation)
      return [requestFault("OPERATION_UNKNOWN", "The document has no such operation, or several and no name.")];
    const request = { query, operationName };
    if (operation.operation !== OperationTypeNode.SUBSCRIPTION) return { document, request };
    // graphql-js throws instead of reporting an error for these, and the planner has no plan for them.
    if (operation.selectionSet.selections.some(isConditional))
      return [requestFault("SUBSCRIPTION_UNSUPPORTED", "A subscription's own field takes no @skip or @include.")];
    const faults = validate(on.schema, document, undefined, { hideSuggestions, maxErrors: MOST_FAULTS });
    if (faults.length > 0) return faults.map((fault) => asFault("DOCUMENT_INVALID", fault));
    const plan = on.planSubscription(document, operationName ?? undefined);
    const client = clients.get(plan.source.subgraph);
    if (!client) return [requestFault("SUBSCRIPTION_UNKNOWN", "This field cannot be subscribed to.")];
    const { operation: asked } = plan.source;
    const { cursors, relays, streams } = on.sources;
    const reads = toStreamedReads(asked, streams) ?? toRelayReads(asked, relays) ?? toCursorReads(asked, cursors);
    return {
      document,
      request,
      subscription: { plan, reads, client, variableDefinitions: operation.variableDefinitions ?? [] },
    };
  }

  function planOnce(on: Graph, request: OperationRequest): Planned | readonly GraphQLError[] {
    const planned = plannedOn.get(on) ?? createCache();
    plannedOn.set(on, planned);
    const key = `${request.operationName ?? ""}\n${request.query}`;
    const known = planned.get(key);
    if (known) return known;
    try {
      const fresh = plan(on, request);
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

  function prepareOn(on: Graph, request: OperationRequest): Prepared | readonly GraphQLError[] {
    const ready = planOnce(on, request);
    if (!("document" in ready)) return ready;
    const { document, subscription } = ready;
    if (!subscription) return { document };
    if (ready.run) return { document, run: ready.run };
    const isAlike = subscription.variableDefinitions.length === 0;
    const { variables = null } = request;
    try {
      assertNested(variables ?? {});
      const { errors, coerced } = getVariableValues(on.schema, subscription.variableDefinitions, variables ?? {}, {
        maxErrors: MAX_VARIABLE_ERRORS,
      });
      if (errors) return errors.map((fault) => asFault("VARIABLES_INVALID", fault));
      const cost = on.costs.of(document, request.operationName ?? undefined, coerced);
      if (cost > maxCost) throw limitExceeded("cost", maxCost, cost);
      const asked = isAlike ? ready.request : { ...ready.request, variables: request.variables };
      const run = { graph: on, request: asked, document, subscription, variables: coerced, cost };
      if (isAlike) ready.run = run;
      return { document, run };
    } catch (cause) {
      if (isAppError(cause)) return [toGraphQLError(cause)];
      throw cause;
    }
  }

  return {
    prepare: (request) => prepareOn(graph.current(), request),
    renew(run, viewer) {
      const on = graph.current();
      if (run.graph === on) return run;
      const ready = prepareOn(on, run.request);
      if (!("document" in ready && ready.run)) {
        const [fault] = "document" in ready ? [] : ready;
        throw new AppError("BAD_USER_INPUT", "SCHEMA_CHANGED", `The graph has changed. ${fault?.message ?? ""}`.trim());
      }
      if (originOf(ready.run, viewer) === originOf(run, viewer)) return ready.run;
      throw new AppError("CONFLICT", "SCHEMA_CHANGED", "The graph has changed: subscribe again.");
    },
  };
}

/** The topic on which its changes are announced. */
export function topicOf({ subscription: { reads } }: Run, viewer: Viewer): string {
  if ("streamed" in reads) throw new Error("what its owner streams has no topic");
  return ("relay" in reads ? reads.relay : reads.source).topic(viewer);
}

/**
 * Identifies the source of its events: their topic and whether they are relayed; for a `@streamed` field, the owner and
 * what it is sent.
 */
function originOf(run: Run, viewer: Viewer): string {
  const { reads, plan } = run.subscription;
  if ("streamed" in reads) return `streamed ${plan.source.subgraph} ${reads.text}`;
  return `${"relay" in reads} ${topicOf(run, viewer)}`;
}

function createCache(): LRUCache<string, Planned> {
  return new LRUCache({
    max: CACHED_TEXTS,
    maxSize: CACHED_CHARACTERS,
    sizeCalculation: (_planned, text) => text.length,
  });
}

function isConditional({ directives }: SelectionNode): boolean {
  return directives?.some(({ name }) => name.value === "skip" || name.value === "include") ?? false;
}
