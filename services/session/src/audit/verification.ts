/** Verification of the chains in the database: one user's, or everybody's. */
import { createChainCheck, emptyChain, type Verdict } from "./chain.ts";
import { linksIn } from "./export.ts";
import type { SignedHead } from "./head.ts";
import type { AuditStore } from "./security-event.ts";

/** Checks all that is kept of a user, from one snapshot. */
export async function verifyUser(store: AuditStore, userId: string): Promise<Verdict> {
  const [verdict] = await verifyUsers(store, [userId]);
  return verdict ?? { checked: 0 };
}

/** Read together, so that the way to the database is not most of the time. */
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
    // Whoever has events but no chain has had it taken away: it then ends before its first event, which is a break.
    const ends = new Map((await chains.ends(users)).map((each) => [each.userId, each]));
    const checks = new Map(users.map((userId) => [userId, createChainCheck(ends.get(userId) ?? emptyChain(userId))]));
    const all = { from: Number.MIN_SAFE_INTEGER, to: Number.MAX_SAFE_INTEGER };
    const range = { after: { userId: first, seq: all.from }, last: { userId: last, seq: all.to } };
    for await (const link of linksIn(chains, range)) checks.get(link.userId)?.take(link);
    return [...checks.values()].map((check) => check.verdict());
  });
}

/**
 * Whether the chain that is kept today still goes through where a head that was signed earlier said it ended. FORGOTTEN:
 * retention has deleted that far.
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
