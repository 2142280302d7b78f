/**
 * A person's device in the story: it signs in, keeps a copy of the state with a queue of its own changes, and watches.
 * The simplest client that follows the protocol; `packages/replica` has the complete rules.
 */
import { randomUUID } from "node:crypto";
import { ask, type Live, goLive } from "./graph-client.ts";
import { type Batch, PULL, PUSH, REFRESH, SIGN_IN, SIGN_UP, START_SESSION, type Operation } from "./operations.ts";

export interface Person {
  readonly email: string;
  readonly password: string;
}

interface Op {
  readonly seq: number;
  readonly namespace: string;
  readonly key: string;
  readonly field: string;
  readonly payload: { readonly type: "SET"; readonly value: unknown };
  readonly stamp: { readonly ms: number; readonly counter: number };
  readonly baseRev: number;
}

export interface Device {
  readonly name: string;
  /** Empty until it has signed in, unless given. */
  readonly id: string;
  readonly accessToken: string;
  readonly refreshToken: string;
  /** Its copy of the state: `namespace/key/field` → value. */
  readonly state: ReadonlyMap<string, unknown>;
  ask<Data>(operation: Operation<Data>, variables?: Readonly<Record<string, unknown>>): Promise<Data>;
  signIn(person: Person, applicationId?: string): Promise<void>;
  refresh(): Promise<void>;
  /** Changes its copy at once and queues the change with a current stamp; works offline. */
  change(path: string, value: unknown): void;
  /** Sends the queue; `keepQueue` keeps what was acknowledged, so that the same changes can be sent again. */
  push(options?: { readonly keepQueue?: boolean }): Promise<{ statuses: string[]; headRev: number }>;
  pull(): Promise<void>;
  /** Applies a batch that came by subscription. */
  apply(batch: Batch): void;
  /** What its copy last pulled. Throws before the first pull. */
  readonly known: { readonly epoch: string; readonly rev: number };
  /** The cursor up to which its copy is complete. */
  readonly cursor: string | undefined;
  goLive(): Live;
}

/** Signs up a new person. */
export async function signUp(gateway: string): Promise<Person> {
  const person = { email: `story-${randomUUID()}@example.com`, password: `${randomUUID()} is long enough` };
  await ask(gateway, SIGN_UP, { input: person });
  return person;
}

/** `id`: of the row that this device already has, if something else on it has signed in before. */
export function createDevice(options: { gateway: string; name: string; platform: string; id?: string }): Device {
  const { gateway, name, platform } = options;
  const clientId = randomUUID();
  const state = new Map<string, unknown>();
  let queue: Op[] = [];
  let seq = 0;
  let copy: { cursor: string; epoch: string; rev: number } | undefined;
  let { id } = options;
  let tokens = { accessToken: "", refreshToken: "" };

  function apply({ from, to, reset, entries, epoch, headRev }: Batch): void {
    if (reset !== null) state.clear();
    else if (from !== copy?.cursor) throw new Error(`${name} got a batch from ${from}, and has ${copy?.cursor}`);
    for (const { namespace, key, field, value, deleted } of entries) {
      const path = `${namespace}/${key}/${field}`;
      if (deleted) state.delete(path);
      else state.set(path, value);
    }
    for (const op of queue) state.set(`${op.namespace}/${op.key}/${op.field}`, op.payload.value);
    copy = { cursor: to, epoch, rev: headRev };
  }

  return {
    name,
    get id() {
      return id ?? "";
    },
    get accessToken() {
      return tokens.accessToken;
    },
    get refreshToken() {
      return tokens.refreshToken;
    },
    get known() {
      if (copy === undefined) throw new Error(`${name} has not pulled yet`);
      return copy;
    },
    get cursor() {
      return copy?.cursor;
    },
    state,
    ask: (operation, variables) => ask(gateway, operation, variables, tokens.accessToken),

    async signIn({ email, password }, applicationId = "continuo") {
      const { signInWithPassword } = await ask(gateway, SIGN_IN, { input: { email, password } });
      const input = { grant: signInWithPassword.grant, applicationId, device: { id, name, platform } };
      const { startSession } = await ask(gateway, START_SESSION, { input });
      tokens = startSession;
      id = startSession.session.device.id;
    },

    async refresh() {
      tokens = (await ask(gateway, REFRESH, { token: tokens.refreshToken })).refreshSession;
    },

    change(path, value) {
      const [namespace = "", key = "", field = ""] = path.split("/");
      seq += 1;
      const stamp = { ms: Date.now(), counter: 0 };
      queue.push({ seq, namespace, key, field, payload: { type: "SET", value }, stamp, baseRev: copy?.rev ?? 0 });
      state.set(path, value);
    },

    async push({ keepQueue = false } = {}) {
      const input = { clientId, epoch: copy?.epoch ?? "", clientNow: Date.now(), baseRev: copy?.rev ?? 0, ops: queue };
      const { pushState } = await ask(gateway, PUSH, { input }, tokens.accessToken);
      if (!keepQueue) queue = queue.filter((op) => op.seq > pushState.lastSeq);
      return { statuses: pushState.outcomes.map(({ status }) => status), headRev: pushState.headRev };
    },

    async pull() {
      for (let more = true; more;) {
        const { pullState } = await ask(gateway, PULL, { since: copy?.cursor, clientId }, tokens.accessToken);
        apply(pullState);
        more = pullState.hasMore;
      }
    },

    apply,
    goLive: () => goLive(gateway, tokens.accessToken),
  };
}
