/**
 * The gateway's client of one subgraph: it sends two headers of ours and none of the client's, names the caller, and
 * enforces a deadline. Knows nothing of query plans; the data source and the cursor streams use it.
 */
import { IDENTITY_HEADER, REQUEST_ID_HEADER, type Caller, type IdentitySigner } from "@continuo/access";
import { AppError, isAppError } from "@continuo/errors";
import type { Logger } from "@continuo/process";
import { randomUUID } from "node:crypto";
import type { Readable } from "node:stream";
import { json as jsonOf } from "node:stream/consumers";
import { createHttpTransport, isTooLarge } from "./http-transport.ts";
import { createLocalTransport, type LocalSubgraph } from "./local-subgraph.ts";
import { createLocalLink, createRemoteLink, type Operation } from "./operation-link.ts";
import {
  fromSubgraph,
  isRecord,
  MOST_ERRORS,
  type SubgraphError,
  toSubgraphError,
  UNAVAILABLE,
  UNEXPECTED,
} from "./subgraph-error.ts";
import { beginLocal, beginRemote, type EventSink, type Leave } from "./streamed-operation.ts";
import type { TransportReply } from "./transport.ts";

/** The caller a subgraph is called for, and when to stop waiting. */
export interface Scope {
  readonly caller: Caller;
  readonly requestId: string;
  readonly signal?: AbortSignal;
}

/** `failed`: there is no data at all, and `errors` say why, without paths. */
export interface SubgraphAnswer {
  readonly data: Record<string, unknown> | null;
  readonly errors: readonly SubgraphError[];
  readonly failed: boolean;
}

export interface SubgraphClient extends AsyncDisposable {
  readonly name: string;
  /** Runs an operation. Never throws: an outage is an answer with UNAVAILABLE/SUBGRAPH_UNAVAILABLE. */
  graphql(request: Operation, scope: Scope): Promise<SubgraphAnswer>;
  /** Starts a subscription that the subgraph executes; returns how to unsubscribe. */
  subscribe(request: Operation, scope: Scope, sink: EventSink<SubgraphAnswer>): Leave;
  /** Posts JSON as the gateway itself, and returns the JSON response. Throws UNAVAILABLE/SUBGRAPH_UNAVAILABLE. */
  post(path: string, body: unknown): Promise<unknown>;
  /** Reads a public JSON document. Throws UNAVAILABLE/SUBGRAPH_UNAVAILABLE. */
  get(path: string): Promise<{ body: string; cacheControl: string | undefined }>;
  /** Streams a response that may be long. Throws the subgraph's refusal, or UNAVAILABLE/SUBGRAPH_UNAVAILABLE. */
  stream(path: string, scope: Scope): Promise<{ body: Readable; contentType: string | undefined }>;
  /** Whether the subgraph reports itself ready. */
  isReady(): Promise<boolean>;
}

const ANSWER_WITHIN_MS = 10_000;
const ANSWER_GATEWAY_WITHIN_MS = 2_000;
const GATEWAY: Caller = { kind: "service", name: "gateway" };

/**
 * Creates the client of the subgraph `at` a URL (its base), or in this process. Opens no connection before the first
 * request.
 */
export function createSubgraphClient(options: {
  name: string;
  at: string | LocalSubgraph;
  signer: IdentitySigner;
  logger: Logger;
  answerWithinMs?: number | undefined;
  pingEveryMs?: number | undefined;
}): SubgraphClient {
  const { name, at, signer, answerWithinMs = ANSWER_WITHIN_MS, pingEveryMs } = options;
  const logger = options.logger.child({ subgraph: name });
  const transport = typeof at === "string" ? createHttpTransport(at, answerWithinMs) : createLocalTransport(at);

  const headersFor = async ({ caller, requestId }: Scope): Promise<Record<string, string>> => ({
    [IDENTITY_HEADER]: await signer.sign(caller),
    [REQUEST_ID_HEADER]: requestId,
  });

  const ownHeaders = (): Promise<Record<string, string>> => headersFor({ caller: GATEWAY, requestId: randomUUID() });
  const link =
    typeof at === "string"
      ? createRemoteLink({ name, url: at, transport, headersFor, ownHeaders, answerWithinMs, logger })
      : createLocalLink(at, answerWithinMs);

  async function sendAsGateway(method: "GET" | "POST", path: string, body: unknown): Promise<TransportReply> {
    try {
      const reply = await transport.send({
        method,
        path,
        headers: { ...(body !== undefined && { "content-type": "application/json" }), ...(await ownHeaders()) },
        body: body === undefined ? undefined : JSON.stringify(body),
        withinMs: ANSWER_GATEWAY_WITHIN_MS,
      });
      if (reply.status >= 200 && reply.status < 300) return reply;
      throw new Error(`${name} answered ${reply.status} to ${path}`);
    } catch (cause) {
      throw unavailable(cause);
    }
  }

  return {
    name,
    async graphql(request, scope) {
      try {
        const { sent, status } = await link.ask(request, scope);
        return toAnswer(sent, status);
      } catch (cause) {
        if (isAppError(cause)) return failure(toSubgraphError(cause));
        if (!scope.signal?.aborted) logger.warn({ err: cause, requestId: scope.requestId }, "subgraph did not answer");
        return failure(isTooLarge(cause) ? UNEXPECTED : UNAVAILABLE);
      }
    },
    subscribe(asked, { caller, requestId }, told) {
      const sink: EventSink<unknown> = {
        next: (sent) => told.next(toAnswer(sent, undefined)),
        end: (errors) => told.end(errors),
      };
      const log = logger.child({ requestId });
      if (typeof at !== "string")
        return beginLocal({ subgraph: at, request: asked, scope: { caller, requestId }, sink, logger: log });
      const credentials = (): Promise<Record<string, string>> => headersFor({ caller, requestId });
      return beginRemote({ url: at, request: asked, credentials, sink, logger: log, pingEveryMs });
    },
    async post(path, body) {
      const { text } = await sendAsGateway("POST", path, body);
      return text === "" ? undefined : JSON.parse(text);
    },
    async get(path) {
      const { text, header } = await sendAsGateway("GET", path, undefined);
      return { body: text, cacheControl: header("cache-control") };
    },
    async stream(path, scope) {
      try {
        const { status, contentType, body } = await transport.stream({ path, headers: await headersFor(scope) });
        if (status === 200) return { body, contentType };
        const { message, extensions } = fromSubgraph(firstError(await jsonOf(body)));
        throw new AppError(extensions.code, extensions.reason, message, detailsOf(extensions.details));
      } catch (cause) {
        if (isAppError(cause)) throw cause;
        logger.warn({ err: cause, requestId: scope.requestId }, "subgraph did not answer");
        throw unavailable(cause);
      }
    },
    async isReady() {
      return sendAsGateway("GET", "/ready", undefined).then(
        () => true,
        () => false,
      );
    },
    async [Symbol.asyncDispose]() {
      await link[Symbol.asyncDispose]();
      await transport[Symbol.asyncDispose]();
    },
  };

  function toAnswer(answer: unknown, status: number | undefined): SubgraphAnswer {
    if (!isRecord(answer) || !("data" in answer || Array.isArray(answer["errors"]))) {
      logger.error({ status }, "subgraph answered something that is not GraphQL");
      return failure(status !== undefined && status >= 500 ? UNAVAILABLE : UNEXPECTED);
    }
    const data = isRecord(answer["data"]) ? answer["data"] : null;
    const sent: unknown[] = Array.isArray(answer["errors"]) ? answer["errors"].slice(0, MOST_ERRORS) : [];
    const errors = sent.map(fromSubgraph);
    if (errors.some(({ extensions }) => extensions.code === "INTERNAL_SERVER_ERROR"))
      logger.error({ status, sent }, "subgraph reported a fault");
    return { data, errors, failed: data === null && errors.every(({ path }) => path === undefined) };
  }
}

function unavailable(cause: unknown): AppError {
  return new AppError("UNAVAILABLE", "SUBGRAPH_UNAVAILABLE", UNAVAILABLE.message, { cause });
}

function failure(error: SubgraphError): SubgraphAnswer {
  return { data: null, errors: [error], failed: true };
}

function firstError(answer: unknown): unknown {
  return isRecord(answer) && Array.isArray(answer["errors"]) ? answer["errors"][0] : undefined;
}

function detailsOf(details: unknown): { details?: Record<string, unknown> } {
  return isRecord(details) ? { details } : {};
}
