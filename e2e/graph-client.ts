/** Two stock clients of the graph: fetch for requests, graphql-ws for subscriptions. Nothing here knows the server's code. */
import { createClient, type Client } from "graphql-ws";
import { z } from "zod";
import type { Operation } from "./operations.ts";

/** How long anything may take before it counts as not happening. Milliseconds. */
const WITHIN_MS = 120_000;

/** A response with errors: the first one's code, reason and details. */
export class GraphError extends Error {
  override readonly name = "GraphError";
  readonly status: number;
  readonly code: string;
  readonly reason: string;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(status: number, error: z.infer<typeof WireError>) {
    const { code, reason, details = {} } = error.extensions;
    super(`${code}/${reason}: ${error.message}`);
    this.status = status;
    this.code = code;
    this.reason = reason;
    this.details = details;
  }
}

const WireError = z.object({
  message: z.string(),
  extensions: z.object({ code: z.string(), reason: z.string(), details: z.record(z.string(), z.unknown()).optional() }),
});
const Answer = z.object({ data: z.unknown().optional(), errors: z.array(WireError).optional() });

/** Sends a request over HTTP. Throws GraphError for a response with errors. */
export async function ask<Data>(
  gateway: string,
  { text, data: Data }: Operation<Data>,
  variables: Readonly<Record<string, unknown>> = {},
  accessToken?: string,
): Promise<Data> {
  const response = await fetch(`${gateway}/graphql`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      ...(accessToken !== undefined && { authorization: `Bearer ${accessToken}` }),
    },
    body: JSON.stringify({ query: text, variables }),
    signal: AbortSignal.timeout(WITHIN_MS),
  });
  const { data, errors } = Answer.parse(await response.json());
  if (errors?.[0]) throw new GraphError(response.status, errors[0]);
  return Data.parse(data);
}

export interface Watch<Data> {
  /** Everything received so far. */
  readonly seen: readonly Data[];
  /** Resolves with the errors that ended the subscription, if any do. */
  readonly refused: Promise<unknown>;
  /** The first item, received or still to come, that `matches`; `what` names it in errors. */
  until(what: string, matches: (item: Data) => boolean): Promise<Data>;
}

/** How a socket ended. */
export interface Closed {
  readonly code: number;
  readonly reason: string;
  /** When it ended, as `performance.now()`. */
  readonly at: number;
}

export interface Live extends AsyncDisposable {
  watch<Data>(operation: Operation<Data>, variables?: Readonly<Record<string, unknown>>): Watch<Data>;
  /** Resolves when the server, or disposal, ends the socket. */
  readonly closed: Promise<Closed>;
}

const CloseEvent = z.object({ code: z.number(), reason: z.string() });

/** Opens one socket (with the first watch), without retries: what happens to the socket is part of the story. */
export function goLive(gateway: string, accessToken: string): Live {
  const closed = Promise.withResolvers<Closed>();
  const client: Client = createClient({
    url: `${gateway.replace(/^http/, "ws")}/graphql`,
    connectionParams: { authorization: `Bearer ${accessToken}` },
    retryAttempts: 0,
    // Otherwise the client would close the socket after its last operation, and never get the server's reason.
    lazyCloseTimeout: WITHIN_MS,
    on: {
      closed: (event) => {
        const { code, reason } = CloseEvent.catch({ code: 0, reason: String(event) }).parse(event);
        closed.resolve({ code, reason, at: performance.now() });
      },
    },
  });
  return {
    closed: closed.promise,
    watch: ({ text, data }, variables = {}) => watch(client, text, data, variables),
    [Symbol.asyncDispose]: async () => client.dispose(),
  };
}

function watch<Data>(
  client: Client,
  query: string,
  data: z.ZodType<Data>,
  variables: Readonly<Record<string, unknown>>,
): Watch<Data> {
  const seen: Data[] = [];
  let failure: unknown;
  const refused = Promise.withResolvers<unknown>();
  let wake = Promise.withResolvers<void>();
  const news = (): void => {
    wake.resolve();
    wake = Promise.withResolvers();
  };
  client.subscribe(
    { query, variables: { ...variables } },
    {
      next: (result) => {
        if (result.errors) failure = result.errors;
        else seen.push(data.parse(result.data));
        news();
      },
      error: (cause) => {
        failure = cause;
        refused.resolve(cause);
        news();
      },
      complete: news,
    },
  );
  return {
    seen,
    refused: refused.promise,
    async until(what, matches) {
      const late = AbortSignal.timeout(WITHIN_MS);
      for (let next = 0; ; next += 1) {
        while (next >= seen.length) {
          if (failure !== undefined)
            throw new Error(`waiting for ${what}, the subscription ended: ${JSON.stringify(failure)}`);
          if (late.aborted)
            throw new Error(`${what} did not happen within ${WITHIN_MS / 1_000} s; seen: ${JSON.stringify(seen)}`);
          await Promise.race([wake.promise, aborted(late)]);
        }
        const item = seen[next];
        if (item !== undefined && matches(item)) return item;
      }
    },
  };
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

/** Repeats `question` until the answer `matches`. */
export async function eventually<Answer>(
  what: string,
  question: () => Promise<Answer>,
  matches: (answer: Answer) => boolean,
): Promise<Answer> {
  const deadline = performance.now() + WITHIN_MS;
  for (;;) {
    const answer = await question();
    if (matches(answer)) return answer;
    if (performance.now() > deadline)
      throw new Error(`${what} did not happen within ${WITHIN_MS / 1_000} s: ${JSON.stringify(answer)}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** The GraphError that `question` fails with. Throws when it succeeds. */
export async function refusal(question: Promise<unknown>): Promise<GraphError> {
  try {
    await question;
  } catch (cause) {
    if (cause instanceof GraphError) return cause;
    throw cause;
  }
  throw new Error("it was answered, and should have been refused");
}
