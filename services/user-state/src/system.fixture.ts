/** For tests: the user-state subgraph on its own database, and users who call it as the gateway would. */
import { randomBytes, randomUUID } from "node:crypto";
import { createIdentitySigner, generateKey, IDENTITY_HEADER, type Caller } from "@continuo/access";
import { createTestDatabase, type TestDatabase } from "@continuo/testkit";
import { Pool } from "pg";
import { startApp } from "./app.ts";
import { Env } from "./env.ts";
import { seed } from "./seed.ts";
import type { StateBatch as Batch, StateEntry } from "./stream/stream.ts";

export interface GraphAnswer<Data> {
  readonly status: number;
  readonly text: string;
  readonly data?: Data;
  readonly errors?: { message: string; extensions: { code: string; reason: string; details?: unknown } }[];
}

export interface System extends AsyncDisposable {
  readonly url: string;
  readonly env: Env;
  readonly database: TestDatabase;
  /** As superuser, to set up and inspect. */
  readonly admin: Pool;
  ask<Data>(caller: Caller | string | undefined, query: string, variables?: object): Promise<GraphAnswer<Data>>;
}

/** Starts a seeded system; `variables` extend its environment. */
export async function startSystem(variables: Readonly<Record<string, string>> = {}): Promise<System> {
  await using stack = new AsyncDisposableStack();
  const database = stack.use(await createTestDatabase());
  const admin = stack.adopt(new Pool({ connectionString: database.adminUrl, max: 4 }), (pool) => pool.end());
  admin.on("error", () => undefined);
  const { publicJwk, privateJwk } = await generateKey("Ed25519");
  const env = Env.parse({
    PORT: "0",
    LOG_LEVEL: process.env["TEST_LOG_LEVEL"] ?? "silent",
    DATABASE_URL: database.url.userState,
    GATEWAY_PUBLIC_KEY: JSON.stringify(publicJwk),
    CURSOR_KEY: randomBytes(32).toString("base64url"),
    ...variables,
  });
  await seed(env);
  const app = stack.use(await startApp(env));
  const signer = createIdentitySigner(privateJwk);
  const opened = stack.move();

  return {
    url: app.url,
    env,
    database,
    admin,
    async ask(caller, query, variables) {
      const statement = typeof caller === "object" ? await signer.sign(caller) : caller;
      const response = await fetch(app.url, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          ...(statement !== undefined && { [IDENTITY_HEADER]: statement }),
        },
        body: JSON.stringify({ query, variables }),
      });
      const text = await response.text();
      return { ...JSON.parse(text), status: response.status, text };
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

const STAMP = "stamp { ms counter clientId }";
const PUSH = `mutation ($input: PushStateInput!) { pushState(input: $input) {
  outcomes { seq status rev ${STAMP} reason message current losers { name value deleted ${STAMP} }
    first { status reason message } }
  lastSeq headRev serverNow stop retryAfterMs quotaRemaining { entries bytes } } }`;
const PULL = `query ($since: String, $namespaces: [String!], $clientId: ID, $first: Int! = 500, $waitMs: Int! = 0) {
  pullState(since: $since, namespaces: $namespaces, clientId: $clientId, first: $first, waitMs: $waitMs) {
    from to hasMore headRev epoch lastSeq reset serverNow
    entries { namespace key field kind state value deleted rev schemaVersion expiresAt } } }`;

interface Instant {
  readonly ms: number;
  readonly counter: number;
}

export interface StateBatch extends Batch {
  readonly entries: readonly (StateEntry & { readonly value: unknown })[];
}

interface OutcomeAnswer {
  readonly seq: number;
  readonly status: string;
  readonly rev: number | null;
  readonly stamp: (Instant & { readonly clientId: string }) | null;
  readonly reason: string | null;
  readonly message: string | null;
  readonly current: unknown;
  readonly losers: { readonly name: string | null; readonly value: unknown; readonly deleted: boolean }[];
  readonly first: { readonly status: string; readonly reason: string | null; readonly message: string | null } | null;
}

interface PushAnswer {
  readonly outcomes: OutcomeAnswer[];
  readonly lastSeq: number;
  readonly headRev: number;
  readonly serverNow: number;
  readonly stop: string | null;
  readonly retryAfterMs: number | null;
  readonly quotaRemaining: { readonly entries: number; readonly bytes: number };
}

export interface OpText {
  readonly seq: number;
  readonly namespace?: string;
  readonly key?: string;
  readonly field?: string;
  readonly payload?: unknown;
  /** Shorthand for a SET payload. */
  readonly value?: unknown;
  readonly stamp?: Instant;
  readonly seen?: Instant;
  /** Defaults to the push's. */
  readonly baseRev?: number;
  readonly schemaVersion?: number;
}

interface PushText {
  readonly clientId?: string;
  readonly epoch?: string;
  readonly clientNow?: number;
  readonly baseRev?: number;
  readonly pending?: number;
  readonly ops: readonly OpText[];
}

/** A replica on a user's device: what a client library would hold. */
export interface Replica {
  readonly clientId: string;
  readonly caller: Caller & { readonly kind: "viewer" };
  /** Another replica of the same user, on the same device if requested. */
  sibling(options?: { sameDevice?: boolean }): Replica;
  /** Sends a push, filling in what a well-behaved client would send. */
  send(push: PushText): Promise<GraphAnswer<{ pushState: PushAnswer }>>;
  /** The same, throwing unless it succeeds. */
  push(push: PushText): Promise<PushAnswer>;
  sendPull(args?: object): Promise<GraphAnswer<{ pullState: StateBatch }>>;
  pull(args?: object): Promise<StateBatch>;
  epoch(): Promise<string>;
}

/** Creates a replica, of a new user and device unless given. */
export function createReplica(system: System, owner: { userId?: string; deviceId?: string } = {}): Replica {
  const { userId = randomUUID(), deviceId = randomUUID() } = owner;
  const clientId = randomUUID();
  const viewer = {
    userId,
    deviceId,
    sessionId: randomUUID(),
    applicationId: "continuo",
    acr: "1",
    amr: ["pwd"],
    authTime: 1,
  };
  const caller = { kind: "viewer", viewer } as const;
  let known: string | undefined;

  const replica: Replica = {
    clientId,
    caller,
    sibling: ({ sameDevice = false } = {}) => createReplica(system, sameDevice ? { userId, deviceId } : { userId }),
    async send({ ops, epoch, clientNow = Date.now(), ...rest }) {
      const { baseRev = 0 } = rest;
      const input = {
        clientId,
        epoch: epoch ?? (await replica.epoch()),
        clientNow,
        baseRev,
        ...rest,
        ops: ops.map(({ value, ...op }) => ({
          namespace: "preferences",
          key: "theme",
          field: "colour",
          payload: { type: "SET", value },
          stamp: { ms: clientNow, counter: op.seq % 65_536 },
          baseRev,
          ...op,
        })),
      };
      return system.ask(caller, PUSH, { input });
    },
    async push(push) {
      const answer = await replica.send(push);
      if (answer.data == null) throw new Error(answer.text);
      return answer.data.pushState;
    },
    sendPull: (args) => system.ask(caller, PULL, args),
    async pull(args) {
      const answer = await replica.sendPull(args);
      if (answer.data == null) throw new Error(answer.text);
      return answer.data.pullState;
    },
    async epoch() {
      known ??= (await replica.pull()).epoch;
      return known;
    },
  };
  return replica;
}

/** `key/field` → value, as a replica shows it after these batches. */
export function shown(batches: readonly StateBatch[]): Record<string, unknown> {
  const state = new Map<string, unknown>();
  for (const { reset, entries } of batches) {
    if (reset !== null) state.clear();
    for (const { key, field, value, deleted } of entries) {
      if (deleted) state.delete(`${key}/${field}`);
      else state.set(`${key}/${field}`, value);
    }
  }
  return Object.fromEntries([...state].toSorted(([one], [other]) => (one < other ? -1 : 1)));
}
