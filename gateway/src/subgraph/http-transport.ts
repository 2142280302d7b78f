/** A subgraph over pooled HTTP connections, with deadlines and a limit on the size of a response. */
import { AppError } from "@continuo/errors";
import { Pool } from "undici";
import { dispatch } from "./dispatch.ts";
import { within } from "./local-subgraph.ts";
import type { SubgraphTransport } from "./transport.ts";

const MAX_ANSWER_BYTES = 8 * 1024 * 1024;
const CONNECTIONS = 64;
/** The most concurrent streamed responses; their pool is separate, so they take no connections from other requests. */
const STREAM_CONNECTIONS = 16;
/** The most concurrent requests that wait for a change. More are told to retry later. */
const WAITING_CONNECTIONS = 1_000;
/** Well below the 65 s after which a subgraph closes an idle connection. */
const KEEP_ALIVE_MS = 30_000;
/** Errors of a failed connection, after which it is unknown whether the request arrived. */
const CONNECTION_FAULTS = new Set(["ECONNREFUSED", "ECONNRESET", "EPIPE", "UND_ERR_SOCKET", "UND_ERR_CONNECT_TIMEOUT"]);

/** Connects to the subgraph at `url` (its base URL). Opens no connection before the first request. */
export function createHttpTransport(url: string, streamWithinMs: number): SubgraphTransport {
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
    headersTimeout: 0,
    bodyTimeout: streamWithinMs,
  });

  return {
    async send({ method, path, headers, body, withinMs, waits = false, signal }) {
      if (waits && waiting.stats.running + waiting.stats.pending >= WAITING_CONNECTIONS) throw tooManyWait();
      const options = {
        method,
        path: `${base}${path}`,
        headers: { accept: "application/json", ...headers },
        ...(body !== undefined && { body }),
        headersTimeout: 0,
        bodyTimeout: 0,
      };
      return dispatch(waits ? waiting : pool, options, { withinMs, signal });
    },
    async stream({ path, headers }) {
      // The deadline covers the wait for a connection and the response's headers; the body may take longer.
      const reply = await within(streamWithinMs, (signal) =>
        streams.request({ method: "GET", path: `${base}${path}`, headers: { ...headers }, signal }),
      );
      return { status: reply.statusCode, contentType: reply.headers["content-type"]?.toString(), body: reply.body };
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.all([pool, waiting, streams].map((each) => each.destroy()));
    },
  };
}

function tooManyWait(): AppError {
  const retryAfterMs = Math.round(1_000 + Math.random() * 4_000);
  return new AppError("RATE_LIMITED", "TOO_MANY_WAIT", "Too many requests are waiting already.", {
    details: { retryAfterMs },
  });
}

/** Whether the request may never have arrived, so that a read can be retried. */
export function isConnectionFault(cause: unknown): boolean {
  const code = codeOf(cause);
  return typeof code === "string" && CONNECTION_FAULTS.has(code);
}

/** Whether the response exceeded our size limit. */
export function isTooLarge(cause: unknown): boolean {
  return codeOf(cause) === "UND_ERR_RES_EXCEEDED_MAX_SIZE";
}

function codeOf(cause: unknown): unknown {
  return typeof cause === "object" && cause !== null && "code" in cause ? cause.code : undefined;
}
