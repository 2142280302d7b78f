/** Verification of the chains in the database: one user's, or everybody's. */
import { emptyChain, verifyChain, type Verdict } from "./chain.ts";
import { linksOf } from "./export.ts";
import type { SignedHead } from "./head.ts";
import type { AuditStore } from "./security-event.ts";

/** Checks all that is kept of a user, from one snapshot. */
export function verifyUser(store: AuditStore, userId: string): Promise<Verdict> {
  return store.snapshot(async (chain) => {
    // Whoever has events but no chain has had it taken away: it then ends before its first event, which is a break.
    const ends = (await chain.ends(userId)) ?? emptyChain(userId);
    return verifyChain(ends, linksOf(chain, userId, { after: 0, last: Number.MAX_SAFE_INTEGER }));
  });
}

const USERS_AT_ONCE = 200;
const CHAINS_AT_ONCE = 8;

/** Checks everybody's chain, in the order of their ids; stops after the chains under way when `signal` is aborted. */
export async function* verifyAll(
  store: AuditStore,
  signal: AbortSignal,
): AsyncIterable<{ readonly userId: string; readonly verdict: Verdict }> {
  let after: string | null = null;
  for (;;) {
    const users: string[] = await store.users(after, USERS_AT_ONCE);
    for (let start = 0; start < users.length; start += CHAINS_AT_ONCE) {
      if (signal.aborted) return;
      const some = users.slice(start, start + CHAINS_AT_ONCE);
      yield* await Promise.all(some.map(async (userId) => ({ userId, verdict: await verifyUser(store, userId) })));
    }
    after = users.at(-1) ?? null;
    if (after === null) return;
  }
}

/**
 * Whether the chain that is kept today still goes through where a head that was signed earlier said it ended. FORGOTTEN:
 * retention has deleted that far.
 */
export async function compareWithHead(
  store: Pick<AuditStore, "ends" | "links">,
  { userId, head }: Pick<SignedHead, "userId" | "head">,
): Promise<"SAME" | "DIFFERS" | "FORGOTTEN"> {
  const { base, head: today } = (await store.ends(userId)) ?? emptyChain(userId);
  if (head.seq < base.seq) return "FORGOTTEN";
  if (head.seq === base.seq) return base.hash.equals(head.hash) ? "SAME" : "DIFFERS";
  if (head.seq > today.seq) return "DIFFERS";
  const [link] = await store.links(userId, head.seq - 1, head.seq, 1);
  return link?.hash.equals(head.hash) === true ? "SAME" : "DIFFERS";
}
