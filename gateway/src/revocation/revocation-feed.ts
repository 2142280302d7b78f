/**
 * Follows session's revocation log: reads new entries, applies them, and acknowledges them with a later read. An empty
 * read counts as a success too, so each success shows how current this gateway is. After three seconds without one the
 * gateway no longer trusts its memory, and each operation first waits for a read ("strict").
 */
import { AppError } from "@continuo/errors";
import type { Logger } from "@continuo/process";

/** A position in the log and the time of its entry: after a database restore, another entry may have the same `seq`. */
export interface Place {
  readonly seq: number;
  /** ISO 8601. */
  readonly at: string;
}

/** One entry of the log. */
export interface Revocation extends Place {
  /** ENDED: the sessions have ended. RESTORED: they are valid again, because an earlier entry was taken back. */
  readonly effect: "ENDED" | "RESTORED";
  readonly sessionIds: readonly string[];
  /** Refresh grants that a step-up has replaced: their access tokens are no longer valid. */
  readonly grantIds?: readonly string[] | undefined;
  readonly reason: string;
}

/** What this gateway did for an entry. */
export interface Acknowledgement {
  readonly seq: number;
  readonly socketsClosed: number;
}

export interface RevocationPage {
  /** False if the log is not the one read so far; the page then starts with every entry that may still matter. */
  readonly continues: boolean;
  readonly hasMore: boolean;
  readonly revocations: readonly Revocation[];
}

export interface RevocationFeed {
  /** Reads to the end of the log. One read at a time: a call during a read shares its outcome. */
  read(): Promise<void>;
  /**
   * Resolves when this gateway's knowledge is current. Throws UNAVAILABLE/REVOCATION_UNKNOWN if it cannot become so.
   */
  assertCurrent(): Promise<void>;
  /** Whether the last success is recent enough to rely on. */
  isCurrent(): boolean;
  /**
   * The age of this gateway's knowledge: the time since the last successful read was sent. Milliseconds; infinite
   * before the first.
   */
  ageMs(): number;
  /** Handles a poke that the log has reached `seq`. Reads if that is new. */
  notice(seq: number): void;
  /**
   * Leaves the log because this gateway stops serving: it reads no more, and no receipt waits for it. Rejects as
   * `leave` does.
   */
  leave(): Promise<void>;
}

/** Knowledge older than this is not relied on. Milliseconds. */
const STALE_AFTER_MS = 3_000;
/** The most acknowledgements that one read carries. */
const MAX_ACKS = 1_000;
/**
 * The minimum time between reads that carry acknowledgements, unless they fill a read: in a wave of sign-outs they
 * would cost as much as the sign-outs. Milliseconds.
 */
const CONFIRM_EVERY_MS = 100;

/**
 * `now` is milliseconds on a monotonic clock; `apply` ends the entry's open streams (or readmits its sessions) and
 * returns how many sockets it closed.
 */
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
  /** The highest `seq` in a poke since the last read began. */
  let noticed = 0;
  /** The state logged last; undefined before the first. */
  let saidCurrent: boolean | undefined;
  let hasLeft = false;

  const ageMs = (): number => now() - currentAt;
  const isCurrent = (): boolean => ageMs() < STALE_AFTER_MS;
  const mayConfirm = (): boolean => acks.length >= MAX_ACKS || now() - confirmedAt >= CONFIRM_EVERY_MS;

  /** Returns whether there is more to read or to acknowledge at once. */
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
        // A read already under way may fail for a cause that has since passed, so try once more.
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
