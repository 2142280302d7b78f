/** GraphQL over HTTP with Apollo Server, which reads and validates requests, and hands operations on to be run. */
import { ApolloServer, type ApolloServerPlugin, HeaderMap } from "@apollo/server";
import { ApolloServerErrorCode, unwrapResolverError } from "@apollo/server/errors";
import {
  ApolloServerPluginCacheControlDisabled,
  ApolloServerPluginInlineTraceDisabled,
  ApolloServerPluginUsageReportingDisabled,
} from "@apollo/server/plugin/disabled";
import { fastifyApolloDrainPlugin } from "@as-integrations/fastify";
import { HTTP_STATUS } from "@continuo/errors";
import type { Logger } from "@continuo/process";
import type { FastifyInstance } from "fastify";
import { GraphQLError, type GraphQLFormattedError, type GraphQLSchema } from "graphql";
import type { Answer, AnswerScope } from "./answer.ts";
import { type FaultReason, formatError, formatFault } from "./format-error.ts";
import type { ObserveOperation } from "./observe-operation.ts";

/** A started server. Stopping it closes `http`, which finishes what is under way. */
export async function startApolloServer(options: {
  schema: GraphQLSchema;
  http: FastifyInstance;
  answer: Answer;
  /** Observes the requests that are not handed on. */
  observe: ObserveOperation;
  logger: Logger;
}): Promise<ApolloServer<AnswerScope>> {
  const { schema, http, logger } = options;
  const apollo = new ApolloServer<AnswerScope>({
    schema,
    introspection: false,
    includeStacktraceInErrorResponses: false,
    stopOnTerminationSignals: false,
    persistedQueries: false,
    logger: { debug: () => {}, info: () => {}, warn: (text) => logger.warn(text), error: (text) => logger.error(text) },
    formatError: formatResult,
    plugins: [
      // It would wrap every field's resolver.
      ApolloServerPluginCacheControlDisabled(),
      ApolloServerPluginInlineTraceDisabled(),
      ApolloServerPluginUsageReportingDisabled(),
      fastifyApolloDrainPlugin(http),
      delegateExecution(options),
    ],
  });
  await apollo.start();
  return apollo;
}

function delegateExecution(options: {
  answer: Answer;
  observe: ObserveOperation;
  logger: Logger;
}): ApolloServerPlugin<AnswerScope> {
  const { answer, observe, logger } = options;
  return {
    async requestDidStart() {
      let isHandedOn = false;
      return {
        async responseForOperation({ source, request: { variables, operationName }, contextValue }) {
          isHandedOn = true;
          const singleResult = await answer({ query: source, variables, operationName }, contextValue);
          const status = "data" in singleResult ? 200 : HTTP_STATUS.BAD_USER_INPUT;
          return { http: { status, headers: new HeaderMap() }, body: { kind: "single", singleResult } };
        },
        async willSendResponse({
          request: { operationName },
          contextValue: { caller, requestId },
          response: { body },
        }) {
          if (isHandedOn || body.kind !== "single") return;
          const { errors } = body.singleResult;
          observe()({ kind: "none", operationName, errors }, { caller, logger: logger.child({ requestId }) });
        },
      };
    },
  };
}

/** Apollo Server's error codes for requests that it refuses before anything is run. */
const FAULTS: Readonly<Partial<Record<string, FaultReason>>> = {
  [ApolloServerErrorCode.GRAPHQL_PARSE_FAILED]: "DOCUMENT_INVALID",
  [ApolloServerErrorCode.GRAPHQL_VALIDATION_FAILED]: "DOCUMENT_INVALID",
  [ApolloServerErrorCode.OPERATION_RESOLUTION_FAILURE]: "OPERATION_UNKNOWN",
  [ApolloServerErrorCode.BAD_REQUEST]: "REQUEST_INVALID",
  [ApolloServerErrorCode.PERSISTED_QUERY_NOT_SUPPORTED]: "REQUEST_INVALID",
};

function formatResult(
  { message, extensions, ...place }: GraphQLFormattedError,
  thrown: unknown,
): GraphQLFormattedError {
  const cause = unwrapResolverError(thrown);
  const error = thrown instanceof GraphQLError ? thrown : new GraphQLError(message, { originalError: asError(cause) });
  const reason = FAULTS[String(extensions?.["code"])];
  return { ...(reason === undefined ? formatError(error) : formatFault(error, reason)), ...place };
}

function asError(cause: unknown): Error {
  return cause instanceof Error ? cause : new Error("something else was thrown", { cause });
}
