/** Sending the queue, and what the server's answers do to it. Nothing leaves the queue unanswered, and nothing refused is lost. */
import {
  MAX_OPS,
  MAX_PUSH_BYTES,
  PROTOCOL_VERSION,
  type OpMessage,
  type OutcomeMessage,
  type PushRequest,
  type PushResponse,
} from "@continuo/merge/protocol";
import { isRevealed } from "./show.ts";
import type { Queued, Rejected, Replica } from "./replica.ts";

/**
 * What to send: the oldest changes that are not settled, as many as a push takes. They have their seq from then on, so
 * `replica` is to be stored before `request` leaves; asking again gives the same ones again. Null when there is nothing
 * to send, or before the first pull, which brings the epoch.
 */
export function push(replica: Replica, now: number): { replica: Replica; request: PushRequest } | null {
  const { epoch, clientId, rev } = replica;
  if (epoch === null) return null;
  let { sealedSeq } = replica;
  let bytes = 0;
  const ops: OpMessage[] = [];
  const queue = replica.queue.map((op) => {
    bytes += op.settled ? 0 : sizeOf(op);
    // The first goes whatever its size: the server refuses it by itself.
    if (op.settled || ops.length >= MAX_OPS || (ops.length > 0 && bytes > MAX_PUSH_BYTES)) return op;
    const seq = op.seq ?? (sealedSeq += 1);
    const { settled: _, ...message } = { ...op, seq };
    ops.push(message);
    return { ...op, seq };
  });
  if (ops.length === 0) return null;
  return {
    replica: { ...replica, queue, sealedSeq },
    request: { protocol: PROTOCOL_VERSION, clientId, epoch, clientNow: now, baseRev: rev, ops },
  };
}

/** The copy after the answer to a push; an answer that comes twice, or late, changes nothing. */
export function settle(replica: Replica, response: PushResponse, now: number): Replica {
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
    return isRevealed(replica, op) ? [] : [{ ...op, settled: true }];
  });
  return {
    ...replica,
    queue,
    rejected: [...replica.rejected, ...rejected],
    clockError: response.serverNow - now,
  };
}

/**
 * The copy after the server said CLIENT_UNKNOWN or EPOCH_CHANGED: under a new id, with all that is not settled to be sent
 * again, and everything to be pulled anew. `prunedBefore` is when the server last forgot devices (its clock, milliseconds):
 * a count that was sent before then may have been counted, so it is not sent again and the person may decide.
 */
export function forgotten(
  replica: Replica,
  {
    clientId,
    prunedBefore = null,
    isCounter,
  }: {
    clientId: string;
    prunedBefore?: number | null;
    isCounter: (op: Queued) => boolean;
  },
): Replica {
  const waiting = replica.queue.filter(({ settled }) => !settled);
  const isUncertain = (op: Queued): boolean =>
    op.seq !== null && isCounter(op) && prunedBefore !== null && op.stamp.ms + replica.clockError < prunedBefore;
  return {
    ...replica,
    clientId,
    epoch: null,
    cursor: null,
    staged: null,
    sealedSeq: 0,
    revealedSeq: 0,
    queue: waiting.filter((op) => !isUncertain(op)).map((op) => ({ ...op, seq: null })),
    rejected: [
      ...replica.rejected,
      ...waiting.filter(isUncertain).map((op): Rejected => ({
        op,
        reason: "UNCERTAIN",
        message: "The server has forgotten this device, and with it whether this was counted.",
      })),
    ],
  };
}

function refusalOf(outcome: OutcomeMessage): Omit<Rejected, "op"> | undefined {
  if (outcome.status === "REJECTED") return { reason: outcome.reason, message: outcome.message };
  if (outcome.status !== "DUPLICATE" || outcome.first?.status !== "REJECTED") return undefined;
  return { reason: outcome.first.reason, message: outcome.first.message };
}

/** As the server counts it: key, field and payload as JSON, in bytes of UTF-8. */
function sizeOf({ key, field, payload }: Queued): number {
  return encoder.encode(key + field + JSON.stringify(payload)).length;
}

const encoder = new TextEncoder();
