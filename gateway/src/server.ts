/** ApolloServer over the graph: parses, validates, runs and shapes queries and mutations, from HTTP and from sockets. */
import { ApolloServer, type ApolloServerPlugin, type GraphQLResponse } from "@apollo/server";
import { unwrapResolverError } from "@apollo/server/errors";
import {
  ApolloServerPluginCacheControlDisabled,
  ApolloServerPluginInlineTraceDisabled,
  ApolloServerPluginLandingPageDisabled,
  ApolloServerPluginSchemaReportingDisabled,
  ApolloServerPluginUsageReportingDisabled,
} from "@apollo/server/plugin/disabled";
import { circumstancesOf } from "@continuo/access";
import { AppError, isAppError, outcomeOf } from "@continuo/errors";
import type { Logger, OperationMetrics } from "@continuo/process";
import { type GraphQLFormattedError, type OperationDefinitionNode, OperationTypeNode } from "graphql";
import type { Activity } from "./activity.ts";
import type { GatewayContext } from "./context.ts";
import { assertMayChange } from "./dpop/proofs.ts";
import { formatError, operationRefused, requestFault, toSeconds } from "./errors.ts";
import { apolloLogger } from "./graph/apollo-logger.ts";
import { toApolloGateway } from "./graph/apollo-gateway.ts";
import type { LiveGraph } from "./graph/graph.ts";
import { limitExceeded, type Limits } from "./limits/limits.ts";
import { longestRetryAfterMs } from "./subgraph/subgraph-error.ts";
import { askingOf, isRelease, type RateLimits } from "./rate-limit/rate-limits.ts";
import { logRefusal } from "./refusals.ts";
import type { Standing } from "./revocation/standing.ts";

/** Started, and not yet reachable: the front and the sockets hand operations to it. */
export async function startServer(options: {
  graph: LiveGraph;
  activity: Activity;
  standing: Standing;
  limits: Limits;
  rates: Pick<RateLimits, "operation">;
  measure: Pick<OperationMetrics, "begin">;
  isDevelopment: boolean;
  logger: Logger;
}): Promise<ApolloServer<GatewayContext>> {
  const { graph, limits, isDevelopment, logger } = options;
  const server = new ApolloServer<GatewayContext>({
    gateway: toApolloGateway(graph),
    introspection: isDevelopment,
    hideSchemaDetailsFromClientErrors: !isDevelopment,
    includeStacktraceInErrorResponses: false,
    csrfPrevention: true,
    allowBatchedHttpRequests: false,
    persistedQueries: false,
    maxRecursiveSelections: true,
    parseOptions: { maxTokens: limits.tokens },
    stopOnTerminationSignals: false,
    formatError,
    logger: apolloLogger(logger),
    plugins: [
      ApolloServerPluginCacheControlDisabled(),
      ApolloServerPluginInlineTraceDisabled(),
      ApolloServerPluginLandingPageDisabled(),
      ApolloServerPluginSchemaReportingDisabled(),
      ApolloServerPluginUsageReportingDisabled(),
      operations(options),
    ],
  });
  await server.start();
  return server;
}

/** Refuses what cannot be run here, notes activity, measures, and writes one log line an operation. */
function operations(options: {
  graph: LiveGraph;
  activity: Activity;
  standing: Standing;
  limits: Pick<Limits, "cost">;
  rates: Pick<RateLimits, "operation">;
  measure: Pick<OperationMetrics, "begin">;
}): ApolloServerPlugin<GatewayContext> {
  const { graph, activity, standing, limits, rates, measure } = options;
  return {
    async requestDidStart() {
      const startedAt = performance.now();
      const end = measure.begin();
      let cost: number | undefined;
      return {
        async didResolveOperation({ document, operation, request, contextValue, schema }) {
          if (!operation)
            throw requestFault("OPERATION_UNKNOWN", `Unknown operation named "${request.operationName ?? ""}".`);
          if (operation.operation === OperationTypeNode.SUBSCRIPTION)
            throw requestFault(
              "SUBSCRIPTION_OVER_HTTP",
              "Subscriptions run over a WebSocket (graphql-transport-ws), as server-sent events (/graphql/stream), or multipart.",
            );
          if (!isRelease(operation)) await refusing(() => rates.operation(askingOf(contextValue)));
          const { access, costs } = graph.of(schema);
          const { session } = contextValue;
          const name = request.operationName ?? undefined;
          await refusing(async () => {
            cost = costs.of(document, name, request.variables ?? {});
            if (cost > limits.cost) throw limitExceeded("cost", limits.cost, cost);
            access.assert(document, name, session);
          }, session?.cnf !== undefined);
          if (operation.operation === OperationTypeNode.MUTATION) await assertMayMutate(contextValue, standing);
          if (!isPassive(operation, contextValue)) activity.note(contextValue);
        },
        async didEncounterErrors({ errors, contextValue }) {
          for (const error of errors) {
            const cause = unwrapResolverError(error);
            const isKnown = isAppError(cause) || error.extensions["code"] !== undefined || !error.originalError;
            if (!isKnown) contextValue.logger.error({ err: cause }, "operation failed");
          }
        },
        async willSendResponse({ operationName, operation, contextValue, errors, response }) {
          const retryAfterMs = longestRetryAfterMs(errors ?? []);
          if (retryAfterMs > 0) response.http.headers.set("retry-after", toSeconds(retryAfterMs));
          const { caller, logger } = contextValue;
          const who = caller.kind === "viewer" ? { sessionId: caller.viewer.sessionId } : {};
          end(operation?.operation ?? "none", outcomeOf(errorsIn(response.body)));
          for (const refusal of refusalsIn(response.body)) logRefusal(logger, refusal, who);
          logger.info(
            {
              operation: operationName ?? operation?.operation,
              cost,
              ms: Math.round((performance.now() - startedAt) * 10) / 10,
              caller: caller.kind,
              ...who,
              ...(errors && { errors: errors.length }),
            },
            "operation",
          );
        },
      };
    },
  };
}

/** An answer with more kinds of errors than this says nothing more by naming them all. */
const MOST_REFUSALS = 10;

/** The kinds of errors in an answer, as its client is told of them. */
function refusalsIn(body: GraphQLResponse["body"]): { code?: unknown; reason?: unknown }[] {
  const kinds = new Map(
    errorsIn(body).map(({ extensions = {} }) => [
      JSON.stringify([extensions["code"], extensions["reason"]]),
      extensions,
    ]),
  );
  return [...kinds.values()].slice(0, MOST_REFUSALS);
}

function errorsIn(body: GraphQLResponse["body"]): readonly GraphQLFormattedError[] {
  return body.kind === "single" ? (body.singleResult.errors ?? []) : [];
}

/** Marked so by the client (`@passive`), or by its browser: polling and prefetching keep no session from idling out. */
function isPassive({ directives }: OperationDefinitionNode, context: GatewayContext): boolean {
  return context.isPassive === true || (directives?.some(({ name }) => name.value === "passive") ?? false);
}

async function assertMayMutate(context: GatewayContext, standing: Standing): Promise<void> {
  assertProven(context);
  if (!context.session) return;
  const { session } = context;
  await refusing(() => standing.assert(session, "CHANGE"));
}

/** What is thrown there ends the operation. */
async function refusing(check: () => Promise<void>, isBound = false): Promise<void> {
  try {
    await check();
  } catch (cause) {
    throw isAppError(cause) ? operationRefused(cause, isBound) : cause;
  }
}

/**
 * Whoever holds a key proves it with each mutation, by a proof with a nonce of ours that is known not to have been used:
 * so a mutation is never replayed, and none is made over a socket that somebody took over.
 */
function assertProven({ caller, proof }: GatewayContext): void {
  if (circumstancesOf(caller).jkt === undefined) return;
  try {
    if (!proof) throw new AppError("UNAUTHENTICATED", "DPOP_REQUIRED", "A mutation needs a proof: send it over HTTP.");
    assertMayChange(proof);
  } catch (cause) {
    throw isAppError(cause) ? operationRefused(cause) : cause;
  }
}
