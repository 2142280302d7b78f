/** For tests: a minimal client, written from SYNC.md alone. Its values are registers and counters. */
import type { OpMessage, PushResponse, StateBatch } from "@continuo/merge/protocol";

/**
 * Sends an operation and returns its data. Throws Refused for a GraphQL error, anything else when there is no answer.
 */
export type Send = <Data>(query: string, variables: object) => Promise<Data>;

export class Refused extends Error {
  readonly reason: string;
  readonly retryAfterMs: number;
  constructor(reason: string, retryAfterMs = 0) {
    super(reason);
    this.reason = reason;
    this.retryAfterMs = retryAfterMs;
  }
}

type Instant = OpMessage["stamp"];
/** An entry of a register or counter, with the members used here. */
type Entry = { state: { standing?: { stamp: Instant } | null }; value: unknown; deleted: boolean };
type Batch = Omit<StateBatch, "entries"> & { entries: (Entry & Omit<StateBatch["entries"][number], keyof Entry>)[] };
type Op = Omit<OpMessage, "seq"> & { seq: number | null; settledAt: number | null };

/** What the client persists, in one write each time. */
export interface Kept {
  clientId: string;
  lastSeq: number;
  revealedSeq: number;
  epoch: string | null;
  cursor: string | null;
  rev: number;
  entries: Record<string, Entry>;
  aside: { reset: boolean; to: string; entries: [string, Entry][] } | null;
  queue: Op[];
  rejected: { op: Op; reason: string | null }[];
  lastStamp: Instant;
}

const BATCH = `from to hasMore headRev epoch lastSeq reset serverNow
  entries { namespace key field kind state value deleted rev schemaVersion }`;
const PULL = `query Pull($since: String, $clientId: ID, $first: Int! = 500) {
  pullState(since: $since, clientId: $clientId, first: $first) { ${BATCH} } }`;
const PUSH = `mutation Push($input: PushStateInput!) { pushState(input: $input) {
  outcomes { seq status rev reason message first { status reason } } lastSeq headRev serverNow stop retryAfterMs } }`;

export function empty(clientId: string): Kept {
  const rest = { lastSeq: 0, revealedSeq: 0, epoch: null, cursor: null, rev: 0, entries: {}, aside: null };
  return { clientId, ...rest, queue: [], rejected: [], lastStamp: { ms: 0, counter: 0 } };
}

/** `store` is called with the next state before the client acts on it. */
export function createClient(kept: Kept, store: (kept: Kept) => void, send: Send, now: () => number) {
  const keep = (change: Partial<Kept>): void => store((kept = { ...kept, ...change }));
  const nameOf = (unit: { namespace: string; key: string; field: string }): string =>
    JSON.stringify([unit.namespace, unit.key, unit.field]);

  function change(namespace: string, key: string, field: string, payload: object): void {
    const { lastStamp: last, entries, queue, rev } = kept;
    const stamp = now() > last.ms ? { ms: now(), counter: 0 } : { ms: last.ms, counter: last.counter + 1 };
    const seen = stampIn(entries[nameOf({ namespace, key, field })]);
    const unit = { namespace, key, field, payload, stamp, seen, baseRev: rev, schemaVersion: 1 };
    keep({ lastStamp: stamp, queue: [...queue, { ...unit, seq: null, settledAt: null }] });
  }

  /** The latest stamp of a register; a counter has none. */
  function stampIn(entry: Entry | undefined): Instant | null {
    const standing = entry?.state.standing;
    return standing ? { ms: standing.stamp.ms, counter: standing.stamp.counter } : null;
  }

  async function pull(first = 500): Promise<void> {
    for (;;) {
      const since = kept.aside?.to ?? kept.cursor;
      const asked = { since, clientId: kept.clientId, first };
      const { pullState: batch } = await send<{ pullState: Batch }>(PULL, asked);
      if (batch.from !== since) continue;
      const pages = batch.reset === null ? kept.aside : null;
      const came = batch.entries.map((entry): [string, Entry] => [nameOf(entry), entry]);
      const reset = batch.reset !== null || (pages?.reset ?? false);
      const aside = { reset, to: batch.to, entries: [...(pages?.entries ?? []), ...came] };
      if (batch.hasMore) {
        keep({ aside });
        continue;
      }
      const entries = { ...(reset ? {} : kept.entries), ...Object.fromEntries(aside.entries) };
      const revealedSeq = batch.lastSeq ?? 0;
      const isBack = ({ seq, settledAt }: Op): boolean =>
        settledAt !== null && ((seq ?? Infinity) <= revealedSeq || settledAt <= batch.headRev);
      const isOver = kept.epoch !== null && kept.epoch !== batch.epoch;
      const left = kept.queue.filter((op) => !isBack(op) || (isOver && (op.seq ?? Infinity) > revealedSeq));
      const queue = isOver ? left.map((op) => ({ ...op, settledAt: null })) : left;
      const { epoch, to: cursor, headRev: rev } = batch;
      return keep({ epoch, cursor, rev, revealedSeq, entries, queue, aside: null });
    }
  }

  /** Pushes what waits once; returns how long to wait before the next push, in milliseconds. */
  async function push(): Promise<number> {
    let { lastSeq } = kept;
    const queue = kept.queue.map((op) => (op.seq === null ? { ...op, seq: (lastSeq += 1) } : op));
    keep({ queue, lastSeq });
    const ops = queue.flatMap(({ settledAt, ...op }) => (settledAt === null && op.seq !== null ? [op] : []));
    if (ops.length === 0) return 0;
    const { clientId, epoch, rev: baseRev } = kept;
    const input = { protocol: 1, clientId, epoch, clientNow: now(), baseRev, ops: ops.slice(0, 100) };
    const { pushState } = await send<{ pushState: PushResponse }>(PUSH, { input });
    const { outcomes, headRev, stop, retryAfterMs } = pushState;
    const rejected = [...kept.rejected];
    const left = kept.queue.flatMap((op): Op[] => {
      const outcome = outcomes.find(({ seq }) => seq === op.seq);
      if (outcome === undefined) return [op];
      const said = outcome.status === "DUPLICATE" ? outcome.first : outcome;
      if (said?.status !== "REJECTED") return [{ ...op, settledAt: headRev }];
      rejected.push({ op, reason: said.reason });
      return [];
    });
    keep({ queue: left, rejected });
    if (stop === "GAP") forgotten(clientId);
    return retryAfterMs ?? 0;
  }

  /** Queues what is not settled again, under a new id. */
  function forgotten(was: string, id: string = crypto.randomUUID()): void {
    if (kept.clientId !== was) return;
    const queue = kept.queue.flatMap((op) => (op.settledAt === null ? [{ ...op, seq: null }] : []));
    keep({ clientId: id, lastSeq: 0, revealedSeq: 0, epoch: null, cursor: null, aside: null, queue });
  }

  /** Pulls, pushes until nothing waits, and pulls again, retrying whatever is lost on the way. */
  async function sync(wait: (ms: number) => Promise<unknown>): Promise<void> {
    for (let failures = 0; ;) {
      const was = kept.clientId;
      try {
        if (kept.cursor === null) await pull();
        while (kept.queue.some(({ settledAt }) => settledAt === null)) await wait(await push());
        return await pull();
      } catch (thrown) {
        const { reason, retryAfterMs } = thrown instanceof Refused ? thrown : { reason: "", retryAfterMs: 0 };
        if (reason === "CLIENT_UNKNOWN" || reason === "CLIENT_OF_OTHER_DEVICE") forgotten(was);
        if (reason === "EPOCH_CHANGED" || reason === "CURSOR_INVALID") keep({ cursor: null, aside: null });
        failures += 1;
        await wait(Math.max(Math.random() * Math.min(60_000, 500 * 2 ** failures), retryAfterMs));
      }
    }
  }

  return { change, pull, push, sync, kept: () => kept };
}
