/**
 * A person's devices as clients of user-state, over a network that fails as told: directly or through the gateway,
 * authenticated by `headersOf`.
 */
import { AppError, ERROR_CODES, isAppError } from "@continuo/errors";
import { KIND_NAMES } from "@continuo/merge";
import { PushResponse, StateBatch, STATES } from "@continuo/merge/protocol";
import { startHttpFaultProxy, type HttpFault, type HttpFaultProxy } from "@continuo/testkit";
import type { Server, Stood } from "@continuo/user-state/simulation";
import type { Pool } from "pg";
import { z } from "zod";

/** A device gives up waiting after this. Milliseconds. */
const PATIENCE_MS = 1_500;

/** A running system that keeps people's state. */
export interface Ground {
  /** A new person without devices, and a network between them and the system. */
  connect(network: Network): Promise<Connection>;
}

export interface Network {
  readonly faultOf: () => HttpFault;
  readonly lateMs?: () => number;
  /** Whether this one request is sent without credentials. */
  readonly isSignedOut?: () => boolean;
  readonly overheard?: (request: string, answer: string) => void;
}

export interface Wire extends AsyncDisposable {
  readonly server: Server;
  /** Erases the person's state from one of their devices; resolves to the number of entries erased. */
  erase(deviceId: string): Promise<number>;
  readonly counts: HttpFaultProxy["counts"];
}

export interface Connection extends Wire {
  /** Signs a new device in; resolves to its id. */
  enrol(): Promise<string>;
  /** The person's state as it stands in Postgres. */
  stood(): Promise<Stood>;
}

/** Devices that call `targets` in turn. `headersOf` returns the headers that identify a device. */
export async function connectTo(
  targets: readonly [string, ...string[]],
  { faultOf, lateMs, isSignedOut = () => false, overheard }: Network,
  headersOf: (deviceId: string) => Promise<Readonly<Record<string, string>>>,
): Promise<Wire> {
  const proxy = await startHttpFaultProxy({
    targets,
    faultOf,
    ...(lateMs && { lateMs }),
    ...(overheard && { overheard }),
  });
  const ask = async (deviceId: string, query: string, variables: object): Promise<unknown> => {
    const response = await fetch(`${proxy.url}/graphql`, {
      method: "POST",
      headers: { "content-type": "application/json", ...(!isSignedOut() && (await headersOf(deviceId))) },
      body: JSON.stringify({ query, variables }),
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    return dataOf(await response.json());
  };
  return {
    server: {
      push: async (deviceId, input) => Pushed.parse(await ask(deviceId, PUSH, { input })).pushState,
      pull: async (deviceId, asked) => Pulled.parse(await ask(deviceId, PULL, asked)).pullState,
    },
    async erase(deviceId) {
      const { namespaces } = Erased.parse(await ask(deviceId, ERASE, {})).eraseState;
      return namespaces.reduce((sum, { entries }) => sum + entries, 0);
    },
    counts: proxy.counts,
    [Symbol.asyncDispose]: () => proxy[Symbol.asyncDispose](),
  };
}

/** A person's state as it stands in Postgres. */
export async function stoodOf(sql: Pool, userId: string): Promise<Stood> {
  const { rows: heads } = await sql.query<{ max_ms: number }>(HEAD, [userId]);
  const { rows } = await sql.query(UNITS, [userId]);
  const units = rows.map((row) => {
    const { id, kind, deleted, state, updates, expires_at: expiresAt } = UnitRow.parse(row);
    const whole =
      updates === null ? state : { ...state, updates: [...z.array(z.unknown()).parse(state["updates"]), ...updates] };
    return [id, { kind, deleted, state: STATES[kind].parse(whole), expiresAt }] as const;
  });
  return { head: { maxMs: heads[0]?.max_ms ?? 0 }, units: new Map(units) };
}

const STAMP = "stamp { ms counter clientId }";
const PUSH = `mutation ($input: PushStateInput!) { pushState(input: $input) {
  outcomes { seq status rev ${STAMP} reason message current losers { name value deleted ${STAMP} }
    first { status reason message } }
  lastSeq headRev serverNow stop retryAfterMs quotaRemaining { entries bytes } } }`;
const PULL = `query ($since: String, $namespaces: [String!], $clientId: ID, $first: Int!, $waitMs: Int!) {
  pullState(since: $since, namespaces: $namespaces, clientId: $clientId, first: $first, waitMs: $waitMs) {
    from to hasMore headRev epoch lastSeq reset serverNow
    entries { namespace key field kind state value deleted rev schemaVersion expiresAt } } }`;
const ERASE = "mutation { eraseState { namespaces { entries } } }";

const Pushed = z.object({ pushState: PushResponse });
const Pulled = z.object({ pullState: StateBatch });

const Erased = z.object({ eraseState: z.object({ namespaces: z.array(z.object({ entries: z.number() })) }) });

const Answer = z.object({
  data: z.unknown().optional(),
  errors: z
    .array(
      z.object({
        message: z.string(),
        extensions: z.object({
          code: z.enum(ERROR_CODES),
          reason: z.string(),
          details: z.record(z.string(), z.unknown()).optional(),
        }),
      }),
    )
    .optional(),
});

const WEATHER = new Set<string>(["UNAVAILABLE", "UNAUTHENTICATED", "RATE_LIMITED"]);

/** Whether a failure comes from the network, an outage or overload, and is not a mistake. */
export function isTransient(cause: unknown): boolean {
  if (isAppError(cause)) return WEATHER.has(cause.code);
  return cause instanceof Error && (cause.message === "fetch failed" || cause.name === "TimeoutError");
}

/** The data of a response. Throws AppError for a response with errors. */
function dataOf(answer: unknown): unknown {
  const { data, errors } = Answer.parse(answer);
  if (errors?.[0] === undefined) return data;
  const { message, extensions } = errors[0];
  const { code, reason, details } = extensions;
  throw new AppError(code, reason, message, details && { details });
}

const HEAD = "SELECT max_ms::float8 FROM user_state.user_heads WHERE user_id = $1";
const UNITS = `
  SELECT json_build_array(entry.namespace, entry.key, entry.field)::text AS id, entry.kind, entry.deleted, entry.state,
         (extract(epoch FROM entry.expires_at) * 1000)::float8 AS expires_at,
         (SELECT array_agg(stored.update ORDER BY stored.rev) FROM user_state.text_updates AS stored
          WHERE (stored.user_id, stored.namespace, stored.key, stored.field)
              = (entry.user_id, entry.namespace, entry.key, entry.field)) AS updates
  FROM user_state.state_entries AS entry WHERE entry.user_id = $1`;
const UnitRow = z.object({
  id: z.string().transform((names) => JSON.stringify(JSON.parse(names))),
  kind: z.enum(KIND_NAMES),
  deleted: z.boolean(),
  state: z.record(z.string(), z.unknown()),
  updates: z.array(z.string()).nullable(),
  expires_at: z.number().nullable(),
});
