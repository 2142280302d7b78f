/** Applies others' changes: pages and stream messages that form a chain, shown only once complete. */
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

/**
 * Returns the next pull: it continues from the last staged page, otherwise from what is shown. `waitMs`: see
 * PullRequest.
 */
export function pull(replica: Replica, { first = MAX_PAGE, waitMs = 0 } = {}): PullRequest {
  const { clientId } = replica;
  return { protocol: PROTOCOL_VERSION, since: placeOf(replica), namespaces: null, clientId, first, waitMs };
}

/**
 * Returns the replica after a batch: a pull's response, or a stream message, whose request is taken to start from the
 * message's own `from`. A batch that does not follow on (late, repeated or behind a gap) is ignored; the caller then
 * pulls. Pages are revealed together with the last one, because a single page may show half of what was changed at
 * once.
 *
 * A server restored from a backup announces a new epoch. Changes of this device that it lost and that are still queued
 * are sent again.
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

/** Throws ZodError for a state its kind cannot have produced: nothing can be merged into it. */
function parseEntry(entry: EntryMessage): Entry {
  return { ...entry, state: STATES[entry.kind].parse(entry.state) };
}

function placeOf({ staged, cursor }: Replica): string | null {
  return staged?.to ?? cursor;
}
