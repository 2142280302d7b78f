/** Verification of the chains in the database: one user's, or everybody's. */
import { createChainCheck, emptyChain, type Verdict } from "./chain.ts";
import { linksIn } from "./export.ts";
import type { SignedHead } from "./head.ts";
import type { AuditStore } from "./security-event.ts";

/** Checks one user's whole chain, from one snapshot. */
export async function verifyUser(store: AuditStore, userId: string): Promise<Verdict> {
  const [verdict] = await verifyUsers(store, [userId]);
  return verdict ?? { checked: 0 };
}

/** Users checked per batch, so that round trips to the database do not dominate. */
const USERS_AT_ONCE = 200;

/** Checks everybody's chain, in the order of their ids; stops between two batches when `signal` is aborted. */
export async function* verifyAll(
  store: AuditStore,
  signal: AbortSignal,
): AsyncIterable<{ readonly userId: string; readonly verdict: Verdict }> {
  let after: string | null = null;
  while (!signal.aborted) {
    const users: string[] = await store.users(after, USERS_AT_ONCE);
    const verdicts = await verifyUsers(store, users);
    for (const [place, userId] of users.entries()) yield { userId, verdict: verdicts[place] ?? { checked: 0 } };
    after = users.at(-1) ?? null;
    if (after === null) return;
  }
}

/** A verdict for each of `users`, which are in order. */
function verifyUsers(store: AuditStore, users: readonly string[]): Promise<Verdict[]> {
  const [first, last] = [users[0], users.at(-1)];
  if (first === undefined || last === undefined) return Promise.resolve([]);
  return store.snapshot(async (chains) => {
    // Events without a chain row mean that the row was deleted: an empty chain then makes the first event a break.
    const ends = new Map((await chains.ends(users)).map((each) => [each.userId, each]));
    const checks = new Map(users.map((userId) => [userId, createChainCheck(ends.get(userId) ?? emptyChain(userId))]));
    const all = { from: Number.MIN_SAFE_INTEGER, to: Number.MAX_SAFE_INTEGER };
    const range = { after: { userId: first, seq: all.from }, last: { userId: last, seq: all.to } };
    for await (const link of linksIn(chains, range)) checks.get(link.userId)?.take(link);
    return [...checks.values()].map((check) => check.verdict());
  });
}

/**
 * Whether today's chain still contains the place where an earlier signed head said that it ended. FORGOTTEN: retention
 * has deleted beyond that place.
 */
export async function compareWithHead(
  store: Pick<AuditStore, "ends" | "links">,
  { userId, head }: Pick<SignedHead, "userId" | "head">,
): Promise<"SAME" | "DIFFERS" | "FORGOTTEN"> {
  const { base, head: today } = (await store.ends([userId]))[0] ?? emptyChain(userId);
  if (head.seq < base.seq) return "FORGOTTEN";
  if (head.seq === base.seq) return base.hash.equals(head.hash) ? "SAME" : "DIFFERS";
  if (head.seq > today.seq) return "DIFFERS";
  const [link] = await store.links({ after: { userId, seq: head.seq - 1 }, last: { userId, seq: head.seq } }, 1);
  return link?.hash.equals(head.hash) === true ? "SAME" : "DIFFERS";
}
