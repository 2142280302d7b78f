/**
 * The revocation log as gateways follow it: pages in commit order, and acknowledgements that they were applied.
 * Pull, not push: a gateway that polls knows how current it is; one that only listens does not.
 */
import { z } from "zod";
import { LONGEST_ACCESS_TOKEN_SECONDS } from "../policy/policy.ts";
import { EndReason } from "../session/session.ts";
import type { RevocationAnnouncer } from "./revocation.ts";

/** A gateway's request for a page. `after: null` asks for everything that may still matter. */
export const FeedRequest = z.object({
  replica: z.string().min(1).max(255),
  after: z.number().int().nonnegative().nullable(),
  /** The `at` of the entry at `after`, as the gateway read it. */
  at: z.iso.datetime().optional(),
  acks: z
    .array(z.object({ seq: z.number().int().positive(), socketsClosed: z.number().int().min(0).max(1_000_000) }))
    .max(1_000),
});
export type FeedRequest = z.infer<typeof FeedRequest>;

/** A gateway's sign-off when it stops, with its last acknowledgements. */
export const Leave = FeedRequest.pick({ replica: true, acks: true });
export type Leave = z.infer<typeof Leave>;

/** Why sessions, or a grant, ended. */
export const FeedReason = z.enum([...EndReason.options, "STEPPED_UP"]);

export interface FeedEntry {
  readonly seq: number;
  /** Whether its sessions ended or were restored. */
  readonly effect: "ENDED" | "RESTORED";
  readonly sessionIds: readonly string[];
  /** Grants replaced by a step-up: their sessions go on, but their access tokens are void. */
  readonly grantIds: readonly string[];
  readonly reason: z.infer<typeof FeedReason>;
  readonly at: Date;
}

export interface FeedPage {
  /**
   * False when the entry that the gateway read last is not in the log: the database was restored to an earlier state,
   * even if the log has grown past that entry since, or retention deleted it. The page then starts over with all that
   * may still matter.
   */
  readonly continues: boolean;
  /** The newest place in the log. */
  readonly head: number;
  readonly hasMore: boolean;
  /** Oldest first, at most 1000, and with a bounded number of sessions. */
  readonly revocations: readonly FeedEntry[];
}

/** Where a page begins. `at` is when the entry at `after` was made, if known. */
export type PageFrom = { readonly after: number; readonly at: string | undefined } | { readonly since: Date };

export interface FeedStore {
  /**
   * Records that the replica has applied these entries; idempotent. Returns the users whose devices changed by that,
   * with their new device revision.
   */
  acknowledge(replica: string, acks: FeedRequest["acks"], now: Date): Promise<{ userId: string; deviceRev: number }[]>;
  /** Records that the replica was heard of, and reads a page: after a place in the log, or after a time. */
  page(replica: string, from: PageFrom, now: Date): Promise<FeedPage>;
  /** Deletes the replica's row. */
  forget(replica: string): Promise<void>;
}

/** Serves the log to gateways. */
export interface Feed {
  page(request: FeedRequest): Promise<FeedPage>;
  /** The gateway has stopped serving, so no receipt waits for it any more. */
  leave(request: Leave): Promise<void>;
}

/** Older entries concern only expired tokens; includes a minute for clock differences. Milliseconds. */
const MATTERS_MS = (LONGEST_ACCESS_TOKEN_SECONDS + 60) * 1_000;

/** Wires the feed. */
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
      // Ignore the acknowledgements: they belong to another log.
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
