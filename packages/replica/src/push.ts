/**
 * Sends the queue and applies the server's answers to it. No op leaves the queue unanswered, and no rejected op is
 * lost.
 */
import {
  MAX_OPS,
  MAX_PUSH_BYTES,
  PROTOCOL_VERSION,
  type OpMessage,
  type OutcomeMessage,
  type PushRequest,
  type PushResponse,
} from "@continuo/merge/protocol";
import { jsonBytes, nextInstant, utf8Bytes } from "@continuo/merge";
import { isRevealed } from "./show.ts";
import type { Queued, Rejected, Replica } from "./replica.ts";

/**
 * Returns the next push: the oldest unsettled changes, as many as one push may hold. They keep the seq assigned here,
 * so store `replica` before sending `request`; calling this again returns the same ops. Null when there is nothing to
 * send, or before the first pull, which brings the epoch.
 */
export function push(replica: Replica, now: number): { replica: Replica; request: PushRequest } | null {
  const { epoch, clientId, rev } = replica;
  if (epoch === null) return null;
  let { sealedSeq } = replica;
  let bytes = 0;
  const ops: OpMessage[] = [];
  const queue = replica.queue.map((op) => {
    bytes += op.settledRev !== null ? 0 : sizeOf(op);
    // The first op is sent whatever its size: the server rejects it individually.
    if (op.settledRev !== null || ops.length >= MAX_OPS || (ops.length > 0 && bytes > MAX_PUSH_BYTES)) return op;
    const seq = op.seq ?? (sealedSeq += 1);
    const { settledRev: _, ...message } = { ...op, seq };
    ops.push(message);
    return { ...op, seq };
  });
  if (ops.length === 0) return null;
  const pending = queue.filter(({ settledRev }) => settledRev === null).length - ops.length;
  return {
    replica: { ...replica, queue, sealedSeq },
    request: { protocol: PROTOCOL_VERSION, clientId, epoch, clientNow: now, baseRev: rev, pending, ops },
  };
}

/** Returns the replica after the response to `request`; a repeated or late response changes nothing. */
export function settle(
  replica: Replica,
  { clientId }: Pick<PushRequest, "clientId">,
  response: PushResponse,
  now: number,
): Replica {
  if (clientId !== replica.clientId) return replica;
  const outcomes = new Map(response.outcomes.map((outcome) => [outcome.seq, outcome]));
  const rejected: Rejected[] = [];
  const queue = replica.queue.flatMap((op): Queued[] => {
    const outcome = op.seq === null ? undefined : outcomes.get(op.seq);
    if (outcome === undefined) return [op];
    const refusal = refusalOf(outcome);
    if (refusal) {
      rejected.push({ op, ...refusal });
      return [];
    }
    const settled = { ...op, settledRev: response.headRev };
    return isRevealed(replica, settled) ? [] : [settled];
  });
  return {
    ...replica,
    queue,
    rejected: [...replica.rejected, ...rejected],
    clockError: response.serverNow - now,
  };
}

/**
 * Returns the replica after the server answered CLIENT_UNKNOWN, or GAP in a response that has been settled: it has
 * forgotten this device, or lost ops it had acknowledged. The replica gets a new id, resends everything unsettled and
 * pulls from the start. `prunedBefore` is when the server last forgot devices (its clock, milliseconds). A COUNTER op
 * sent under the old id and made before then may already have been counted: it is not resent, and the person may
 * decide. One that was never sent gets a stamp of `now`, which tells the server that it is new.
 */
export function forgotten(
  replica: Replica,
  {
    clientId,
    now,
    prunedBefore = null,
    isCounter,
  }: { clientId: string; now: number; prunedBefore?: number | null; isCounter: (op: Queued) => boolean },
): Replica {
  const rejected: Rejected[] = [];
  let { lastStamp } = replica;
  const queue = replica.queue.flatMap((op): Queued[] => {
    if (op.settledRev !== null) return [];
    const isOld = prunedBefore !== null && op.stamp.ms + replica.clockError < prunedBefore;
    if (!isOld || !isCounter(op)) return [{ ...op, seq: null }];
    if (op.seq === null) return [{ ...op, stamp: (lastStamp = nextInstant(lastStamp, now)) }];
    const message = "The server has forgotten this device, and with it whether this was counted.";
    rejected.push({ op, reason: "UNCERTAIN", message });
    return [];
  });
  return {
    ...replica,
    clientId,
    epoch: null,
    cursor: null,
    staged: null,
    sealedSeq: 0,
    revealedSeq: 0,
    lastStamp,
    queue,
    rejected: [...replica.rejected, ...rejected],
  };
}

function refusalOf(outcome: OutcomeMessage): Omit<Rejected, "op"> | undefined {
  if (outcome.status === "REJECTED") return { reason: outcome.reason, message: outcome.message };
  if (outcome.status !== "DUPLICATE" || outcome.first?.status !== "REJECTED") return undefined;
  return { reason: outcome.first.reason, message: outcome.first.message };
}

/** The size as the server counts it: key, field and payload as JSON, in bytes of UTF-8. */
function sizeOf({ key, field, payload }: Queued): number {
  return utf8Bytes(key) + utf8Bytes(field) + jsonBytes(payload);
}
