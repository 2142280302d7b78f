/**
 * Follows session's revocation log: reads what is new, applies it, confirms it with a read that follows.
 * A second without news is a read like any other, so each success also says how current this gateway is; after three
 * seconds without one it no longer trusts its memory, and each operation first waits for a read ("strict").
 */
import { AppError } from "@continuo/errors";
import type { Logger } from "@continuo/process";

/** A place in the log, and when its entry was made: where a database was put back, another entry may stand there by now. */
export interface Place {
  readonly seq: number;
  /** ISO 8601. */
  readonly at: string;
}

/** One entry of the log. */
export interface Revocation extends Place {
  /** Whether its sessions have ended, or are back: an earlier entry was taken back. */
  readonly effect: "ENDED" | "RESTORED";
  readonly sessionIds: readonly string[];
  /** Grants of rotation that a step-up has replaced: access tokens of them are good no more. */
  readonly grantIds?: readonly string[] | undefined;
  readonly reason: string;
}

/** What this gateway did about an entry. */
export interface Acknowledgement {
  readonly seq: number;
  readonly socketsClosed: number;
}

export interface RevocationPage {
  /** False where the log is not the one that was read so far: then it begins with all that may still matter. */
  readonly continues: boolean;
  readonly hasMore: boolean;
  readonly revocations: readonly Revocation[];
}

export interface RevocationFeed {
  /** Reads until there is nothing more. One at a time: a caller during a read shares the next outcome. */
  read(): Promise<void>;
  /** Resolves when the gateway's knowledge is current. Throws UNAVAILABLE/REVOCATION_UNKNOWN when it cannot become so. */
  assertCurrent(): Promise<void>;
  /** Whether the last success is recent enough to rely on. */
  isCurrent(): boolean;
  /** How old what we know is: since the last success was asked for. Milliseconds; infinite before the first. */
  ageMs(): number;
  /** A poke: the log is at `seq`. Reads if that is news. */
  notice(seq: number): void;
  /** This gateway serves nobody any more: nothing is read from now on, and no receipt waits for it. Rejects as `leave` does. */
  leave(): Promise<void>;
}

/** Older than this, what we know is not relied on. Milliseconds. */
const STALE_AFTER_MS = 3_000;
/** How many confirmations one read may carry. */
const MAX_ACKS = 1_000;
/** Confirmations go at most this often, unless they fill a read: in a wave of sign-outs they cost as much as those. Milliseconds. */
const CONFIRM_EVERY_MS = 100;

/** `now` is milliseconds on a clock that never goes back; `apply` ends what is open (or lets the sessions back in) and returns how many sockets it closed. */
export function createRevocationFeed(options: {
  fetchPage: (after: Place | null, acks: readonly Acknowledgement[]) => Promise<RevocationPage>;
  leave: (acks: readonly Acknowledgement[]) => Promise<void>;
  apply: (revocation: Revocation) => number;
  now: () => number;
  logger: Logger;
}): RevocationFeed {
  const { fetchPage, leave, apply, now, logger } = options;
  let cursor: Place | null = null;
  let acks: Acknowledgement[] = [];
  let confirmedAt = Number.NEGATIVE_INFINITY;
  let confirming: NodeJS.Timeout | undefined;
  let currentAt = Number.NEGATIVE_INFINITY;
  let reading: Promise<void> | undefined;
  /** The highest place that was told of since the last read began. */
  let noticed = 0;
  /** What the log of this process said last; nothing yet. */
  let saidCurrent: boolean | undefined;
  let hasLeft = false;

  const ageMs = (): number => now() - currentAt;
  const isCurrent = (): boolean => ageMs() < STALE_AFTER_MS;
  const mayConfirm = (): boolean => acks.length >= MAX_ACKS || now() - confirmedAt >= CONFIRM_EVERY_MS;

  /** Returns whether there is more to read or to confirm at once. */
  async function readPage(): Promise<boolean> {
    const sent = mayConfirm() ? acks.slice(0, MAX_ACKS) : [];
    const askedAt = now();
    const page = await fetchPage(cursor, sent);
    acks = acks.slice(sent.length);
    if (sent.length > 0) confirmedAt = askedAt;
    if (!page.continues) {
      logger.warn({ cursor }, "the revocation log does not go on from where it was read: it is read anew");
      cursor = null;
      acks = [];
    }
    for (const revocation of page.revocations) {
      acks.push({ seq: revocation.seq, socketsClosed: apply(revocation) });
      cursor = { seq: revocation.seq, at: revocation.at };
    }
    if (!page.hasMore) currentAt = askedAt;
    return page.hasMore || (acks.length > 0 && mayConfirm());
  }

  async function readAll(): Promise<void> {
    do {
      noticed = 0;
      while (await readPage());
    } while (noticed > (cursor?.seq ?? 0));
    if (acks.length > 0) confirmLater();
    if (saidCurrent !== true) logger.info({ seq: cursor?.seq }, "revocations are current");
    saidCurrent = true;
  }

  function failed(cause: unknown): never {
    if (!isCurrent() && saidCurrent !== false) {
      logger.warn({ err: cause }, "revocations are not current: every operation waits for a read");
      saidCurrent = false;
    }
    throw cause;
  }

  function read(): Promise<void> {
    reading ??= readAll()
      .catch(failed)
      .finally(() => {
        reading = undefined;
      });
    return reading;
  }

  function readInBackground(): void {
    if (hasLeft) return;
    read().catch((cause: unknown) => logger.debug({ err: cause }, "a revocation read failed"));
  }

  function confirmLater(): void {
    confirming ??= setTimeout(() => {
      confirming = undefined;
      readInBackground();
    }, CONFIRM_EVERY_MS).unref();
  }

  return {
    read,
    isCurrent,
    ageMs,
    async assertCurrent() {
      if (isCurrent()) return;
      try {
        // A read that was under way may fail for what is over by now.
        await (reading?.catch(read) ?? read());
      } catch (cause) {
        throw revocationUnknown(cause);
      }
    },
    notice(seq) {
      if (cursor !== null && seq <= cursor.seq) return;
      noticed = Math.max(noticed, seq);
      readInBackground();
    },
    async leave() {
      hasLeft = true;
      await reading?.catch(() => undefined);
      await leave(acks.slice(0, MAX_ACKS));
    },
  };
}

/** UNAVAILABLE/REVOCATION_UNKNOWN. */
export function revocationUnknown(cause?: unknown): AppError {
  const message = "Whether the session still stands cannot be known right now.";
  return new AppError("UNAVAILABLE", "REVOCATION_UNKNOWN", message, { cause });
}
