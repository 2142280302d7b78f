/** Taking over what others changed: pages and stream messages that chain, shown only when they are whole. */
import {
  MAX_PAGE,
  PROTOCOL_VERSION,
  STATES,
  type EntryMessage,
  type PullRequest,
  type StateBatch,
} from "@continuo/merge/protocol";
import { isRevealed } from "./show.ts";
import { unitId, type Entry, type Queued, type Replica } from "./replica.ts";

/** What to ask for next: on from the last page that waits, else from what is shown. `waitMs`: see PullRequest. */
export function pull(replica: Replica, { first = MAX_PAGE, waitMs = 0 } = {}): PullRequest {
  const { clientId } = replica;
  return { protocol: PROTOCOL_VERSION, since: placeOf(replica), namespaces: null, clientId, first, waitMs };
}

/**
 * The copy after a batch: the answer to a request, or a message of the stream, whose request is as if it were from the
 * message's own `from`. A batch that does not follow is left alone, be it late, doubled or behind a gap: pull then. Pages
 * are shown together when the last is there, because one alone may show half of what somebody did at once.
 *
 * A server that was restored from a backup says so by a new epoch. What it has lost of this device's changes, and is still
 * in the queue, is sent again.
 */
export function receive(
  replica: Replica,
  { since, clientId }: Pick<PullRequest, "since" | "clientId">,
  batch: StateBatch,
  now: number,
): Replica {
  const follows = batch.reset !== null || batch.from === since;
  const isMine = clientId === replica.clientId && since === placeOf(replica);
  if (!isMine || !follows) return replica;
  const before = batch.reset === null ? replica.staged : null;
  const staged = {
    reset: batch.reset !== null || (before?.reset ?? false),
    to: batch.to,
    entries: [...(before?.entries ?? []), ...batch.entries.map(parseEntry)],
  };
  const heard = { ...replica, clockError: batch.serverNow - now };
  if (batch.hasMore) return { ...heard, staged };

  const entries = new Map(staged.reset ? [] : replica.entries);
  for (const entry of staged.entries) entries.set(unitId(entry), entry);
  const revealed: Replica = {
    ...heard,
    epoch: batch.epoch,
    cursor: batch.to,
    rev: batch.headRev,
    entries,
    revealedSeq: staged.reset ? (batch.lastSeq ?? 0) : Math.max(replica.revealedSeq, batch.lastSeq ?? 0),
    staged: null,
  };
  const isRestored = replica.epoch !== null && replica.epoch !== batch.epoch;
  if (!isRestored)
    return { ...revealed, queue: replica.queue.filter((op) => op.settledRev === null || !isRevealed(revealed, op)) };
  const isKept = ({ seq }: Queued): boolean => seq !== null && seq <= revealed.revealedSeq;
  return {
    ...revealed,
    queue: replica.queue.flatMap((op) => (op.settledRev !== null && isKept(op) ? [] : [{ ...op, settledRev: null }])),
  };
}

/** Throws ZodError for a state that its kind never made: nothing can be merged into it. */
function parseEntry(entry: EntryMessage): Entry {
  return { ...entry, state: STATES[entry.kind].parse(entry.state) };
}

function placeOf({ staged, cursor }: Replica): string | null {
  return staged?.to ?? cursor;
}
