/**
 * The revocation log as gateways follow it: pages in commit order, and their word that they have applied them.
 * Not a push: a gateway that asks knows how current it is, one that only listens does not.
 */
import { z } from "zod";
import { LONGEST_ACCESS_TOKEN_SECONDS } from "../policy/policy.ts";
import { EndReason } from "../session/session.ts";
import type { RevocationAnnouncer } from "./revocation.ts";

/** How a gateway asks. `after: null` asks for everything that may still matter. */
export const FeedRequest = z.object({
  replica: z.string().min(1).max(255),
  after: z.number().int().nonnegative().nullable(),
  /** Of the entry at `after`, as the gateway read it. */
  at: z.iso.datetime().optional(),
  acks: z
    .array(z.object({ seq: z.number().int().positive(), socketsClosed: z.number().int().min(0).max(1_000_000) }))
    .max(1_000),
});
export type FeedRequest = z.infer<typeof FeedRequest>;

/** How a gateway takes its leave, with its last word on what it has applied. */
export const Leave = FeedRequest.pick({ replica: true, acks: true });
export type Leave = z.infer<typeof Leave>;

/** Why sessions ended, or a grant did. */
export const FeedReason = z.enum([...EndReason.options, "STEPPED_UP"]);

export interface FeedEntry {
  readonly seq: number;
  /** Whether its sessions have ended, or are back. */
  readonly effect: "ENDED" | "RESTORED";
  readonly sessionIds: readonly string[];
  /** Grants of rotation that a step-up has replaced: their sessions go on, their access tokens do not. */
  readonly grantIds: readonly string[];
  readonly reason: z.infer<typeof FeedReason>;
  readonly at: Date;
}

export interface FeedPage {
  /**
   * False where there is no such entry as the gateway read last: the database was put back to an earlier state, also when there
   * are more entries since (or retention took it). Then the page begins with all that may still matter.
   */
  readonly continues: boolean;
  /** The newest place in the log. */
  readonly head: number;
  readonly hasMore: boolean;
  /** Oldest first, at most 1000, and of not too many sessions. */
  readonly revocations: readonly FeedEntry[];
}

/** Where a page begins; `at`: when the entry at `after` was made, if that is known. */
export type PageFrom = { readonly after: number; readonly at: string | undefined } | { readonly since: Date };

export interface FeedStore {
  /**
   * Notes that the replica has applied these; repeating it changes nothing. Returns the users whose devices now show
   * more than before, with their new device revision.
   */
  acknowledge(replica: string, acks: FeedRequest["acks"], now: Date): Promise<{ userId: string; deviceRev: number }[]>;
  /** Notes that the replica was heard of, and reads a page: after a place in the log, or from a moment on. */
  page(replica: string, from: PageFrom, now: Date): Promise<FeedPage>;
  /** Forgets that the replica was ever heard of. */
  forget(replica: string): Promise<void>;
}

/** The log, served to gateways. */
export interface Feed {
  page(request: FeedRequest): Promise<FeedPage>;
  /** The gateway serves nobody any more: no receipt waits for it. */
  leave(request: Leave): Promise<void>;
}

/** No older entry can concern a token that is still good; a minute more for clocks that disagree. Milliseconds. */
const MATTERS_MS = (LONGEST_ACCESS_TOKEN_SECONDS + 60) * 1_000;

/** Wires it. */
export function createFeed(options: {
  store: FeedStore;
  announce: Pick<RevocationAnnouncer, "devicesChanged">;
  now: () => Date;
}): Feed {
  const { store, announce, now } = options;

  async function acknowledge({ replica, acks }: Leave, at: Date): Promise<void> {
    if (acks.length === 0) return;
    const changed = await store.acknowledge(replica, acks, at);
    await Promise.all(changed.map(({ userId, deviceRev }) => announce.devicesChanged(userId, deviceRev)));
  }

  return {
    async page({ replica, after, at, acks }) {
      const asked = now();
      const anew = { since: new Date(asked.getTime() - MATTERS_MS) };
      const page = await store.page(replica, after === null ? anew : { after, at }, asked);
      // What it has applied of another log says nothing of this one.
      if (!page.continues) return { ...(await store.page(replica, anew, asked)), continues: false };
      await acknowledge({ replica, acks }, asked);
      return page;
    },
    async leave({ replica, acks }) {
      await acknowledge({ replica, acks }, now());
      await store.forget(replica);
    },
  };
}
