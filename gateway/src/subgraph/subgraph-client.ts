/**
 * The way to one subgraph: pooled connections, a deadline, a size limit, two headers of ours and none of the client's.
 * Knows no query plans; the data source and the cursor streams ask through it.
 */
import { IDENTITY_HEADER, REQUEST_ID_HEADER, type Caller, type IdentitySigner } from "@continuo/access";
import { AppError, isAppError } from "@continuo/errors";
import type { Logger } from "@continuo/process";
import { randomUUID } from "node:crypto";
import type { Readable } from "node:stream";
import { Pool } from "undici";
import {
  fromSubgraph,
  isRecord,
  type SubgraphError,
  toSubgraphError,
  UNAVAILABLE,
  UNEXPECTED,
} from "./subgraph-error.ts";

/** For whom, and until when, a subgraph is asked. */
export interface Scope {
  readonly caller: Caller;
  readonly requestId: string;
  readonly signal?: AbortSignal;
}

interface SubgraphRequest {
  readonly query: string;
  readonly variables?: Record<string, unknown>;
  readonly operationName?: string | undefined;
  /** How long the subgraph is asked to wait for something to tell, beyond the time for an answer. Milliseconds. */
  readonly waitMs?: number;
}

/** `failed` means that no part of the answer could be had, and `errors` say why, without paths. */
export interface SubgraphAnswer {
  readonly data: Record<string, unknown> | null;
  readonly errors: readonly SubgraphError[];
  readonly failed: boolean;
}

/** A form as a client posted it. */
export interface PostedForm {
  readonly text: string;
  /** How the client authenticates, if it does. */
  readonly authorization: string | undefined;
}

export interface ForwardedAnswer {
  readonly status: number;
  readonly text: string;
  readonly contentType: string | undefined;
  /** `WWW-Authenticate`. */
  readonly challenge: string | undefined;
}

export interface SubgraphClient extends AsyncDisposable {
  readonly name: string;
  /** Runs an operation. Never throws: an outage is an answer with UNAVAILABLE/SUBGRAPH_UNAVAILABLE. */
  graphql(request: SubgraphRequest, scope: Scope): Promise<SubgraphAnswer>;
  /** Posts JSON as the gateway itself, and returns the JSON answered. Throws UNAVAILABLE/SUBGRAPH_UNAVAILABLE. */
  post(path: string, body: unknown): Promise<unknown>;
  /** Reads a public JSON document. Throws UNAVAILABLE/SUBGRAPH_UNAVAILABLE. */
  get(path: string): Promise<{ body: string; cacheControl: string | undefined }>;
  /** Passes a client's form on, and the answer back, whatever its status. Throws UNAVAILABLE/SUBGRAPH_UNAVAILABLE. */
  forward(path: string, form: PostedForm, scope: Scope): Promise<ForwardedAnswer>;
  /** Reads what may be long, as it comes. Throws what the subgraph refuses with, or UNAVAILABLE/SUBGRAPH_UNAVAILABLE. */
  stream(path: string, scope: Scope): Promise<{ body: Readable; contentType: string | undefined }>;
  /** Whether the subgraph says that it is ready. */
  isReady(): Promise<boolean>;
}

const ANSWER_WITHIN_MS = 10_000;
const ANSWER_GATEWAY_WITHIN_MS = 2_000;
const MAX_ANSWER_BYTES = 8 * 1024 * 1024;
const CONNECTIONS = 64;
/** Long answers at once; they keep no connection from the others. */
const STREAM_CONNECTIONS = 16;
/** Requests that wait at once. What comes beyond them is asked to come again. */
const WAITING_CONNECTIONS = 1_000;
const MAX_WAIT_MS = 30_000;
/** Well below the 65 s after which a subgraph closes an idle connection. */
const KEEP_ALIVE_MS = 30_000;
/** The connection failed; whether the request arrived is not known, so only a read is sent again. */
const CONNECTION_FAULTS = new Set(["ECONNREFUSED", "ECONNRESET", "EPIPE", "UND_ERR_SOCKET", "UND_ERR_CONNECT_TIMEOUT"]);
/** How OAuth clients post (RFC 6749 appendix B). */
export const FORM_TYPE = "application/x-www-form-urlencoded";
const GATEWAY: Caller = { kind: "service", name: "gateway" };

/** Connections to the subgraph at `url` (its base). Opens none before the first request. */
export function createSubgraphClient(options: {
  name: string;
  url: string;
  signer: IdentitySigner;
  logger: Logger;
  answerWithinMs?: number | undefined;
}): SubgraphClient {
  const { name, url, signer, answerWithinMs = ANSWER_WITHIN_MS } = options;
  const logger = options.logger.child({ subgraph: name });
  const { origin, pathname } = new URL(url);
  const base = pathname.replace(/\/+$/, "");
  const connection = { keepAliveTimeout: KEEP_ALIVE_MS, connectTimeout: 2_000, allowH2: false };
  const pool = new Pool(origin, { ...connection, connections: CONNECTIONS, maxResponseSize: MAX_ANSWER_BYTES });
  const waiting = new Pool(origin, {
    ...connection,
    connections: WAITING_CONNECTIONS,
    maxResponseSize: MAX_ANSWER_BYTES,
  });
  const streams = new Pool(origin, {
    ...connection,
    connections: STREAM_CONNECTIONS,
    headersTimeout: answerWithinMs,
    bodyTimeout: answerWithinMs,
  });

  async function send(
    method: "GET" | "POST",
    path: string,
    body: Body | undefined,
    scope: Scope,
    withinMs: number,
    through = pool,
  ): Promise<Reply> {
    const reply = await through.request({
      method,
      path: `${base}${path}`,
      headers: {
        accept: "application/json",
        ...body?.headers,
        [IDENTITY_HEADER]: await signer.sign(scope.caller),
        [REQUEST_ID_HEADER]: scope.requestId,
      },
      ...(body && { body: body.text }),
      headersTimeout: withinMs,
      bodyTimeout: withinMs,
      ...signalOf(scope, withinMs),
    });
    const header = (name: string): string | undefined => reply.headers[name]?.toString();
    return {
      status: reply.statusCode,
      text: await reply.body.text(),
      cacheControl: header("cache-control"),
      contentType: header("content-type"),
      challenge: header("www-authenticate"),
    };
  }

  /** The connection's own timers cost less than a signal; but they do not run for whoever waits for a connection. */
  function signalOf({ signal }: Scope, withinMs: number): { signal?: AbortSignal } {
    const { running, pending } = pool.stats;
    if (running + pending < CONNECTIONS) return signal ? { signal } : {};
    const deadline = AbortSignal.timeout(withinMs);
    return { signal: signal ? AbortSignal.any([signal, deadline]) : deadline };
  }

  async function sendOnBehalf(request: SubgraphRequest, scope: Scope): Promise<Reply> {
    const { waitMs = 0, ...asked } = request;
    if (waitMs > 0 && waiting.stats.running + waiting.stats.pending >= WAITING_CONNECTIONS) throw tooManyWait();
    const isChange = request.query.startsWith("mutation");
    const { signal, ...still } = scope;
    const withinMs = answerWithinMs + Math.min(waitMs, MAX_WAIT_MS);
    const attempt = (): Promise<Reply> =>
      send("POST", "/graphql", json(asked), isChange ? still : scope, withinMs, waitMs > 0 ? waiting : pool);
    try {
      return await attempt();
    } catch (cause) {
      if (isChange || !isConnectionFault(cause) || signal?.aborted) throw cause;
      return attempt();
    }
  }

  async function sendAsGateway(method: "GET" | "POST", path: string, body: unknown): Promise<Reply> {
    const scope = { caller: GATEWAY, requestId: randomUUID() };
    try {
      const reply = await send(
        method,
        path,
        body === undefined ? undefined : json(body),
        scope,
        ANSWER_GATEWAY_WITHIN_MS,
      );
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
        return toAnswer(await sendOnBehalf(request, scope));
      } catch (cause) {
        if (isAppError(cause)) return failure(toSubgraphError(cause));
        if (!scope.signal?.aborted) logger.warn({ err: cause, requestId: scope.requestId }, "subgraph did not answer");
        return failure(isTooLarge(cause) ? UNEXPECTED : UNAVAILABLE);
      }
    },
    async post(path, body) {
      const { text } = await sendAsGateway("POST", path, body);
      return text === "" ? undefined : JSON.parse(text);
    },
    async get(path) {
      const { text, cacheControl } = await sendAsGateway("GET", path, undefined);
      return { body: text, cacheControl };
    },
    async forward(path, { text, authorization }, scope) {
      const headers = { "content-type": FORM_TYPE, ...(authorization !== undefined && { authorization }) };
      try {
        return await send("POST", path, { text, headers }, scope, answerWithinMs);
      } catch (cause) {
        logger.warn({ err: cause, requestId: scope.requestId }, "subgraph did not answer");
        throw unavailable(cause);
      }
    },
    async stream(path, { caller, requestId }) {
      const headers = { [IDENTITY_HEADER]: await signer.sign(caller), [REQUEST_ID_HEADER]: requestId };
      try {
        const {
          statusCode,
          headers: said,
          body,
        } = await streams.request({ method: "GET", path: `${base}${path}`, headers });
        if (statusCode === 200) return { body, contentType: said["content-type"]?.toString() };
        const { message, extensions } = fromSubgraph(firstError(await body.json()));
        throw new AppError(extensions.code, extensions.reason, message, detailsOf(extensions.details));
      } catch (cause) {
        if (isAppError(cause)) throw cause;
        logger.warn({ err: cause, requestId }, "subgraph did not answer");
        throw unavailable(cause);
      }
    },
    async isReady() {
      return sendAsGateway("GET", "/ready", undefined).then(
        () => true,
        () => false,
      );
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.all([pool, waiting, streams].map((each) => each.destroy()));
    },
  };

  function toAnswer(reply: Reply): SubgraphAnswer {
    const answer = parseJson(reply.text);
    if (!isRecord(answer) || !("data" in answer || Array.isArray(answer["errors"]))) {
      logger.error({ status: reply.status }, "subgraph answered something that is not GraphQL");
      return failure(reply.status >= 500 ? UNAVAILABLE : UNEXPECTED);
    }
    const data = isRecord(answer["data"]) ? answer["data"] : null;
    const sent: unknown[] = Array.isArray(answer["errors"]) ? answer["errors"] : [];
    const errors = sent.map(fromSubgraph);
    if (errors.some(({ extensions }) => extensions.code === "INTERNAL_SERVER_ERROR"))
      logger.error({ status: reply.status, sent }, "subgraph reported a fault");
    return { data, errors, failed: data === null && errors.every(({ path }) => path === undefined) };
  }
}

interface Body {
  readonly text: string;
  readonly headers: Readonly<Record<string, string>>;
}

interface Reply extends ForwardedAnswer {
  readonly cacheControl: string | undefined;
}

function json(value: unknown): Body {
  return { text: JSON.stringify(value), headers: { "content-type": "application/json" } };
}

function tooManyWait(): AppError {
  const retryAfterMs = Math.round(1_000 + Math.random() * 4_000);
  return new AppError("RATE_LIMITED", "TOO_MANY_WAIT", "Too many requests wait here already.", {
    details: { retryAfterMs },
  });
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

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function codeOf(cause: unknown): unknown {
  return typeof cause === "object" && cause !== null && "code" in cause ? cause.code : undefined;
}

function isConnectionFault(cause: unknown): boolean {
  const code = codeOf(cause);
  return typeof code === "string" && CONNECTION_FAULTS.has(code);
}

function isTooLarge(cause: unknown): boolean {
  return codeOf(cause) === "UND_ERR_RES_EXCEEDED_MAX_SIZE";
}
