/**
 * Answers queries and mutations from HTTP and from sockets: parses and validates a document once, checks each request's
 * cost and permissions, runs the plan and formats the result. Independent of the transport.
 */
import { requestContextOf } from "@continuo/access";
import { AppError, isAppError, outcomeOf } from "@continuo/errors";
import type { OperationMetrics } from "@continuo/process";
import {
  type DocumentNode,
  type FormattedExecutionResult,
  getOperationAST,
  GraphQLError,
  type GraphQLFormattedError,
  NoSchemaIntrospectionCustomRule,
  type OperationDefinitionNode,
  OperationTypeNode,
  specifiedRules,
  validate,
} from "graphql";
import type { Activity } from "./activity.ts";
import type { GatewayContext } from "./context.ts";
import { assertMayChange } from "./dpop/proofs.ts";
import { asFault, causeOf, formatGraphQLErrors, headOf, operationRefused, requestFault, toSeconds } from "./errors.ts";
import type { Graph, LiveGraph } from "./graph/graph.ts";
import type { Documents } from "./limits/documents.ts";
import { limitExceeded, type Limits, MOST_FAULTS } from "./limits/limits.ts";
import { assertNested } from "./limits/nesting.ts";
import type { Answer } from "./plan/operation.ts";
import { askingOf, isRelease, type RateLimits } from "./rate-limit/rate-limits.ts";
import { asksOnlyFor } from "./root-fields.ts";
import { logRefusal } from "./refusals.ts";
import type { Standing } from "./revocation/standing.ts";
import { isRecord, longestRetryAfterMs } from "./subgraph/subgraph-error.ts";

/** A request as the client sent it. */
interface ServerRequest {
  readonly query: string;
  readonly operationName?: string | null | undefined;
  readonly variables?: Readonly<Record<string, unknown>> | null | undefined;
  readonly extensions?: unknown;
}

/** An answer with its HTTP status and headers. */
export interface Answered {
  readonly body: FormattedExecutionResult;
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
}

export interface Server {
  /** Never rejects. `isRead` refuses everything but queries. */
  answer(request: ServerRequest, context: GatewayContext, how?: { readonly isRead?: boolean }): Promise<Answered>;
}

/** What is known about an operation when it ends. */
interface Seen {
  operation?: OperationDefinitionNode;
  cost?: number;
}

/** Wires it. */
export function createServer(options: {
  graph: Pick<LiveGraph, "current">;
  documents: Documents;
  activity: Pick<Activity, "note">;
  standing: Pick<Standing, "assert">;
  limits: Pick<Limits, "cost">;
  rates: Pick<RateLimits, "operation">;
  measure: Pick<OperationMetrics, "begin">;
  isDevelopment: boolean;
}): Server {
  const { graph, documents, activity, standing, limits, rates, measure, isDevelopment } = options;
  const rules = isDevelopment ? specifiedRules : [...specifiedRules, NoSchemaIntrospectionCustomRule];
  const validOn = new WeakMap<Graph, WeakSet<DocumentNode>>();

  /** The validation errors of a document. */
  function faultsOf(on: Graph, document: DocumentNode): readonly GraphQLError[] {
    const valid = validOn.get(on) ?? new WeakSet();
    if (valid.has(document)) return [];
    const faults = validate(on.schema, document, rules, {
      hideSuggestions: !isDevelopment,
      maxErrors: MOST_FAULTS,
    });
    if (faults.length === 0) validOn.set(on, valid.add(document));
    return faults.map((fault) => asFault("DOCUMENT_INVALID", fault));
  }

  async function judge(
    on: Graph,
    operation: OperationDefinitionNode,
    asked: { document: DocumentNode; name: string | undefined; variables: Readonly<Record<string, unknown>> },
    context: GatewayContext,
    seen: Seen,
  ): Promise<void> {
    const { document, name, variables } = asked;
    const { session } = context;
    assertNested(variables);
    seen.cost = on.costs.of(document, name, variables);
    if (seen.cost > limits.cost) throw limitExceeded("cost", limits.cost, seen.cost);
    on.access.assert(document, name, session);
    if (operation.operation !== OperationTypeNode.MUTATION) return;
    assertProven(context);
    if (session) await standing.assert(session, "CHANGE");
  }

  /**
   * Reads the document and counts the operation. Faulty ones count too, because finding the fault is most of their
   * cost.
   */
  async function read(
    text: string,
    name: string | undefined,
    context: GatewayContext,
  ): Promise<{ document: DocumentNode; operation: OperationDefinitionNode | null | undefined }> {
    let operation: OperationDefinitionNode | null | undefined;
    try {
      const document = readDocument(documents, text);
      operation = getOperationAST(document, name);
      return { document, operation };
    } finally {
      if (!wasCounted(context) && (!operation || !isRelease(operation))) await rates.operation(askingOf(context));
    }
  }

  /** Runs the request. Throws the error that ends it. */
  async function run(request: ServerRequest, context: GatewayContext, isRead: boolean, seen: Seen): Promise<Answer> {
    if (request.query === "") throw withoutText(request.extensions);
    const name = request.operationName ?? undefined;
    const { document, operation } = await read(request.query, name, context);
    // The operation finishes on this graph, even if another is put in place meanwhile.
    const on = graph.current();
    const errors = faultsOf(on, document);
    if (errors.length > 0) return { errors };
    const variables = request.variables ?? {};
    if (!operation) throw requestFault("OPERATION_UNKNOWN", `Unknown operation named "${name ?? ""}".`);
    seen.operation = operation;
    if (isRead && operation.operation !== OperationTypeNode.QUERY) throw readsOnly();
    if (operation.operation === OperationTypeNode.SUBSCRIPTION)
      throw requestFault(
        "SUBSCRIPTION_OVER_HTTP",
        "Subscriptions run over a WebSocket (graphql-transport-ws), as server-sent events (/graphql/stream), or multipart.",
      );
    await judge(on, operation, { document, name, variables }, context, seen);
    if (!isPassive(operation, context)) activity.note(context);
    const answer = await on.answer(document, name, variables, context);
    // A session that ended meanwhile must not get what was read; the result of a mutation is still returned.
    if (context.session && operation.operation === OperationTypeNode.QUERY)
      await standing.assert(context.session, "READ");
    return answer;
  }

  return {
    async answer(request, context, { isRead = false } = {}) {
      const startedAt = performance.now();
      const end = measure.begin();
      const seen: Seen = {};
      const result = await run(request, context, isRead, seen).catch((thrown: unknown) => ({
        errors: [asGraphQLError(thrown, context)],
      }));
      const { errors = [] } = result;
      for (const error of errors) logBug(error, context);
      const answered = inWords(result, context);
      report(answered.body.errors ?? [], seen, context, performance.now() - startedAt);
      end(seen.operation?.operation ?? "none", outcomeOf(answered.body.errors));
      return answered;
    },
  };
}

/** Requests with a proof but no token were counted on arrival. */
function wasCounted({ proof, session }: GatewayContext): boolean {
  return proof !== undefined && session === undefined;
}

/** Throws errors in the form that clients get. */
function readDocument(documents: Documents, text: string): DocumentNode {
  try {
    return documents.read(text);
  } catch (cause) {
    throw cause instanceof GraphQLError ? asFault("DOCUMENT_INVALID", cause) : cause;
  }
}

/** Stock clients recognize this message and retry with the full text. */
function withoutText(extensions: unknown): GraphQLError {
  if (isRecord(extensions) && "persistedQuery" in extensions)
    return requestFault("PERSISTED_QUERY_NOT_SUPPORTED", "PersistedQueryNotSupported", { status: 200 });
  return requestFault("REQUEST_INVALID", "The request must have a query.");
}

function readsOnly(): GraphQLError {
  return requestFault("REQUEST_INVALID", "A GET can only be a query.", { status: 405, headers: { allow: "POST" } });
}

/** The error that ended an operation. Anything that is neither a refusal nor graphql's own error is a bug. */
function asGraphQLError(thrown: unknown, { session }: GatewayContext): GraphQLError {
  if (thrown instanceof GraphQLError) return thrown;
  if (isAppError(thrown)) return operationRefused(thrown, session?.cnf !== undefined);
  const originalError = thrown instanceof Error ? thrown : new Error("something else was thrown", { cause: thrown });
  return new GraphQLError(originalError.message, { originalError });
}

function logBug(error: GraphQLError, { logger, requestId }: GatewayContext): void {
  const cause = causeOf(error);
  const isKnown = isAppError(cause) || error.extensions["code"] !== undefined || !error.originalError;
  if (!isKnown) logger.error({ err: cause, requestId }, "operation failed");
}

function inWords({ data, errors }: Answer, { requestId }: GatewayContext): Answered {
  if (!errors) return { body: { data: data ?? null }, status: 200, headers: {} };
  const told = formatGraphQLErrors(errors, requestId);
  const ran = data !== undefined;
  const head = errors.map(headOf).find((head) => head !== undefined);
  const retryAfterMs = longestRetryAfterMs(told);
  return {
    body: { errors: told, ...(ran && { data }) },
    status: head?.status ?? (ran ? 200 : 500),
    headers: { ...head?.headers, ...(retryAfterMs > 0 && { "retry-after": toSeconds(retryAfterMs) }) },
  };
}

/** Writes one log line per operation, and one for each kind of refusal in it. */
function report(
  errors: readonly GraphQLFormattedError[],
  { operation, cost }: Seen,
  { caller, logger, requestId }: GatewayContext,
  ms: number,
): void {
  const about = { requestId, ...(caller.kind === "viewer" && { sessionId: caller.viewer.sessionId }) };
  for (const refusal of refusalsIn(errors)) logRefusal(logger, refusal, about);
  logger.info(
    {
      operation: operation?.name?.value ?? operation?.operation,
      cost,
      ms: Math.round(ms * 10) / 10,
      caller: caller.kind,
      ...about,
      ...(errors.length > 0 && { errors: errors.length }),
    },
    "operation",
  );
}

/** The most kinds of refusals that are logged for one answer. */
const MOST_REFUSALS = 10;

/** The distinct kinds of errors in an answer, as the client gets them. */
function refusalsIn(errors: readonly GraphQLFormattedError[]): { code?: unknown; reason?: unknown }[] {
  const kinds = new Map(
    errors.map(({ extensions = {} }) => [JSON.stringify([extensions["code"], extensions["reason"]]), extensions]),
  );
  return [...kinds.values()].slice(0, MOST_REFUSALS);
}

/**
 * Whether an operation is not user activity: marked by the client (`@passive`) or by its browser, or a refresh, with
 * which some clients send their token although it needs none. Polling, prefetching and refreshing do not keep a session
 * from idling out.
 */
function isPassive(operation: OperationDefinitionNode, context: GatewayContext): boolean {
  const isMarked = operation.directives?.some(({ name }) => name.value === "passive") ?? false;
  return context.isPassive === true || isMarked || asksOnlyFor(operation, REFRESHES);
}

const REFRESHES = new Set(["refreshSession"]);

/**
 * A caller bound to a key must prove possession with each mutation, by a proof with a nonce of this gateway that is
 * known to be unused. So a mutation is never replayed, and none is made over a hijacked socket.
 */
function assertProven({ caller, proof }: GatewayContext): void {
  if (requestContextOf(caller).jkt === undefined) return;
  if (!proof)
    throw new AppError("UNAUTHENTICATED", "DPOP_REQUIRED", "A mutation needs a DPoP proof: send it over HTTP.");
  assertMayChange(proof);
}
