/**
 * The chain of a user's security events: each link's hash is SHA-256 of the previous hash and the bytes of its record,
 * so nothing can be changed, removed, inserted or moved without changing every later hash. A trigger in the database
 * builds the chain; this file checks it. Only a signed head (`head.ts`) proves that the chain was not cut at its end.
 */
import { createHash } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { z } from "zod";

/** The record as the trigger writes it. */
export const EventRecord = z.strictObject({
  userId: z.string(),
  seq: z.number().int(),
  at: z.string(),
  type: z.string(),
  sessionId: z.string().nullable(),
  deviceId: z.string().nullable(),
  actorId: z.string().nullable(),
  detail: z.unknown(),
});
export type EventRecord = z.infer<typeof EventRecord>;

/** A place in the chain: an event's seq and hash; 0 and 32 zero bytes before the first event. */
export interface Place {
  readonly seq: number;
  readonly hash: Buffer;
}

/** A user's chain: the place that it follows (the last event that retention deleted), and its last place. */
export interface ChainEnds {
  readonly userId: string;
  readonly base: Place;
  readonly head: Place;
}

/** The chain of a user without events. */
export function emptyChain(userId: string): ChainEnds {
  const nothing = { seq: 0, hash: Buffer.alloc(32) };
  return { userId, base: nothing, head: nothing };
}

/** An event and its hash. */
export interface Link extends Place {
  /** The JSON text that was hashed. */
  readonly record: string;
  /** The row's other columns, for a link from the database. */
  readonly columns?: EventRecord;
}

/** The first fault in a chain. */
export interface Break {
  readonly seq: number;
  readonly problem:
    | "MISSING"
    | "OUT_OF_ORDER"
    | "HASH_DIFFERS"
    | "RECORD_UNREADABLE"
    | "RECORD_OF_ANOTHER"
    | "COLUMNS_DIFFER"
    | "TAIL_MISSING"
    | "HEAD_DIFFERS";
}

/** The fault of `link` as the successor of `previous` in this user's chain; undefined when it is right. */
function checkLink(userId: string, previous: Place, link: Link): Break | undefined {
  const expected = previous.seq + 1;
  if (link.seq > expected) return { seq: expected, problem: "MISSING" };
  if (link.seq < expected) return { seq: link.seq, problem: "OUT_OF_ORDER" };
  const hash = createHash("sha256").update(previous.hash).update(link.record, "utf8").digest();
  if (!hash.equals(link.hash)) return { seq: link.seq, problem: "HASH_DIFFERS" };
  const record = readRecord(link.record);
  if (record === undefined) return { seq: link.seq, problem: "RECORD_UNREADABLE" };
  if (record.userId !== userId || record.seq !== link.seq) return { seq: link.seq, problem: "RECORD_OF_ANOTHER" };
  if (link.columns !== undefined && !isDeepStrictEqual(record, link.columns)) {
    return { seq: link.seq, problem: "COLUMNS_DIFFER" };
  }
  return undefined;
}

/** The fault of a chain that ends at `last` when it should end at `head`. */
function checkHead(last: Place, head: Place): Break | undefined {
  if (last.seq < head.seq) return { seq: last.seq + 1, problem: "TAIL_MISSING" };
  if (last.seq > head.seq || !last.hash.equals(head.hash)) return { seq: last.seq, problem: "HEAD_DIFFERS" };
  return undefined;
}

/** How many links were right, and the first break if there is one. */
export interface Verdict {
  readonly checked: number;
  readonly firstBreak?: Break;
}

/** An incremental check: takes a chain's links in order and then gives the verdict. */
export interface ChainCheck {
  take(link: Link): void;
  verdict(): Verdict;
}

/** Starts the check of a chain. */
export function createChainCheck({ userId, base, head }: ChainEnds): ChainCheck {
  let last = base;
  let checked = 0;
  let firstBreak: Break | undefined;
  return {
    take(link) {
      if (firstBreak !== undefined) return;
      firstBreak = checkLink(userId, last, link);
      if (firstBreak !== undefined) return;
      last = link;
      checked += 1;
    },
    verdict() {
      const found = firstBreak ?? checkHead(last, head);
      return found === undefined ? { checked } : { checked, firstBreak: found };
    },
  };
}

/** Checks a whole chain. */
export function verifyChain(ends: ChainEnds, links: Iterable<Link>): Verdict {
  const check = createChainCheck(ends);
  for (const link of links) check.take(link);
  return check.verdict();
}

function readRecord(text: string): EventRecord | undefined {
  try {
    return EventRecord.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}
