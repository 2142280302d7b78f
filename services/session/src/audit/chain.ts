/**
 * The chain of a user's security events: each link's hash is SHA-256 of the hash before it and the bytes of its record,
 * so nothing in it can be changed, taken out, put in or moved without every later hash changing. It is made by a trigger in
 * the database; this checks it. Whether its end is the true one, only a signed head can say (`head.ts`).
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

/** A place in the chain: of the last event that it is about, and that one's hash. Nothing yet is 0 and 32 zero bytes. */
export interface Place {
  readonly seq: number;
  readonly hash: Buffer;
}

/** Whose chain, what it follows (the last event that retention deleted), and where it ends. */
export interface ChainEnds {
  readonly userId: string;
  readonly base: Place;
  readonly head: Place;
}

/** Of somebody to whom nothing has happened. */
export function emptyChain(userId: string): ChainEnds {
  const nothing = { seq: 0, hash: Buffer.alloc(32) };
  return { userId, base: nothing, head: nothing };
}

/** An event and its hash. */
export interface Link extends Place {
  /** The JSON text that was hashed. */
  readonly record: string;
  /** What the columns beside it say, where there are any. */
  readonly columns?: EventRecord;
}

/** What is wrong, at the first place where something is. */
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

/** What is wrong with `link` as the one behind `previous` in this user's chain; undefined when it is right. */
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

/** What is wrong with a chain that ends at `last`. */
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

/** A check under way: takes a chain's links in order, and says in the end how they were. */
export interface ChainCheck {
  take(link: Link): void;
  verdict(): Verdict;
}

/** Nothing is taken yet. */
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
