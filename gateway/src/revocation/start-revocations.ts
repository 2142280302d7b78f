/**
 * Drives the revocation feed: reads at once, on each poke, and every second; and notices when it is no longer current.
 */
import type { Logger } from "@continuo/process";
import { type Pokes, REVOCATIONS_TOPIC } from "@continuo/signals";
import { z } from "zod";
import type { SubgraphClient } from "../subgraph/subgraph-client.ts";
import type { createRevocationFeed, RevocationFeed } from "./revocation-feed.ts";

/** The pause between reads. Milliseconds. */
const READ_EVERY_MS = 1_000;

/** How often the feed's currency is checked. Milliseconds. */
const WATCH_EVERY_MS = 500;

const Page = z.object({
  // The previous release of session does not send it.
  continues: z.boolean().default(true),
  hasMore: z.boolean(),
  revocations: z.array(
    z.object({
      seq: z.number().int(),
      at: z.string(),
      effect: z.enum(["ENDED", "RESTORED"]),
      sessionIds: z.array(z.string()),
      grantIds: z.array(z.string()).optional(),
      reason: z.string(),
    }),
  ),
});

/** Reads the log from the session service as this replica. */
export function revocationLog(
  session: Pick<SubgraphClient, "post">,
  replica: string,
): Pick<Parameters<typeof createRevocationFeed>[0], "fetchPage" | "leave"> {
  return {
    fetchPage: async (after, acks) =>
      Page.parse(
        await session.post("/internal/revocations", { replica, after: after?.seq ?? null, at: after?.at, acks }),
      ),
    leave: async (acks) => void (await session.post("/internal/revocations/leave", { replica, acks })),
  };
}

/** Starts following until disposed of. Does not wait for the first read, with whose success the feed is current. */
export async function startRevocations(options: {
  feed: RevocationFeed;
  pokes: Pokes;
  logger: Logger;
  /** Called repeatedly while revocations cannot be known. */
  onUnknown: () => void;
  readEveryMs?: number | undefined;
}): Promise<AsyncDisposable> {
  const { feed, pokes, logger, onUnknown, readEveryMs = READ_EVERY_MS } = options;
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;

  function beat(): void {
    void feed
      .read()
      .catch((cause: unknown) => logger.debug({ err: cause }, "a revocation read failed"))
      .finally(() => {
        if (!stopped) timer = setTimeout(beat, readEveryMs);
      });
  }

  // Separate from the reads, which may hang until their deadline.
  const watch = setInterval(() => {
    if (!feed.isCurrent()) onUnknown();
  }, WATCH_EVERY_MS);

  const listening = await pokes.subscribe(REVOCATIONS_TOPIC, {
    onPoke: (seq) => feed.notice(seq),
    onGap: () => feed.notice(Number.MAX_SAFE_INTEGER),
  });
  beat();

  return {
    async [Symbol.asyncDispose]() {
      stopped = true;
      clearTimeout(timer);
      clearInterval(watch);
      await listening[Symbol.asyncDispose]();
      await feed.leave().catch((cause: unknown) => logger.debug({ err: cause }, "session was not told"));
    },
  };
}
