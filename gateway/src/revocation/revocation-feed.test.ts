import { createLogger, type Logger } from "@continuo/process";
import * as fc from "fast-check";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import {
  type Acknowledgement,
  createRevocationFeed,
  type Revocation,
  type RevocationFeed,
  type RevocationPage,
} from "./revocation-feed.ts";
import { createRevocationSet } from "./revocation-set.ts";

interface Log {
  readonly feed: RevocationFeed;
  readonly applied: string[];
  /** What was logged of whether it is current. */
  readonly said: string[];
  readonly asked: { after: number | undefined; acks: readonly Acknowledgement[] }[];
  /** What was confirmed on leaving. */
  readonly left: number[][];
  entries: Revocation[];
  now: number;
  isDown: boolean;
  /** Holds the next answer back until called. */
  hold(): () => void;
}

/** A log of revocations that gives two entries a page. */
function createLog(): Log {
  let held: Promise<void> | undefined;
  const said: string[] = [];
  const logger: Logger = Object.create(createLogger({ name: "test", level: "silent" }), {
    info: { value: (_about: unknown, text: string) => said.push(text) },
    warn: { value: ({ err }: { err?: Error }, text: string) => said.push(err ? `${text}: ${err.message}` : text) },
  });
  const log: Log = {
    applied: [],
    said,
    asked: [],
    left: [],
    entries: [],
    now: 0,
    isDown: false,
    hold() {
      const { promise, resolve } = Promise.withResolvers<void>();
      held = promise;
      return resolve;
    },
    feed: createRevocationFeed({
      async fetchPage(after, acks): Promise<RevocationPage> {
        log.asked.push({ after: after?.seq, acks });
        const continues = after === null || log.entries.some(({ seq, at }) => seq === after.seq && at === after.at);
        const newer = log.entries.filter(({ seq }) => after === null || !continues || seq > after.seq);
        const waiting = held;
        held = undefined;
        await waiting;
        if (log.isDown) throw new Error("down");
        return { continues, hasMore: newer.length > 2, revocations: newer.slice(0, 2) };
      },
      leave: async (acks) => void log.left.push(acks.map(({ seq }) => seq)),
      apply: ({ sessionIds }) => log.applied.push(...sessionIds) && sessionIds.length,
      now: () => log.now,
      logger,
    }),
  };
  return log;
}

const entry = (seq: number): Revocation => ({
  seq,
  at: `day ${seq}`,
  effect: "ENDED",
  sessionIds: [`s${seq}`],
  reason: "SIGNED_OUT",
});

describe("the revocation feed", () => {
  it("reads every page from the beginning, and confirms what it did with the reads that follow", async () => {
    const log = createLog();
    log.entries = [1, 2].map(entry);
    await log.feed.read();
    log.now = 1_000;
    log.entries.push(entry(3));
    await log.feed.read();
    expect(log.applied).toEqual(["s1", "s2", "s3"]);
    expect(log.asked).toEqual([
      { after: undefined, acks: [] },
      { after: 2, acks: [1, 2].map((seq) => ({ seq, socketsClosed: 1 })) },
      { after: 2, acks: [] },
      { after: 3, acks: [{ seq: 3, socketsClosed: 1 }] },
    ]);
  });

  it("gathers what it has to confirm while there is news after news, and forgets none of it", async () => {
    vi.useFakeTimers();
    onTestFinished(() => void vi.useRealTimers());
    const log = createLog();
    for (const seq of [1, 2, 3, 4, 5]) {
      log.entries.push(entry(seq));
      log.now += 10;
      await log.feed.read();
    }
    const confirmed = (): number[][] =>
      log.asked.map(({ acks }) => acks.map(({ seq }) => seq)).filter((seqs) => seqs.length > 0);
    expect(log.applied).toEqual(["s1", "s2", "s3", "s4", "s5"]);
    expect(confirmed()).toEqual([[1]]);

    log.now += 100;
    await vi.advanceTimersByTimeAsync(100);
    expect(confirmed()).toEqual([[1], [2, 3, 4, 5]]);
  });

  it("confirms no more at a time than a read may carry, and the rest after it", async () => {
    const log = createLog();
    const all = Array.from({ length: 1_005 }, (_, index) => index + 1);
    for (const upTo of [1, 2, 1_005]) {
      log.entries = all.slice(0, upTo).map(entry);
      await log.feed.read();
      log.now += 10;
    }
    log.now += 100;
    await log.feed.read();
    const confirmed = log.asked.map(({ acks }) => acks.map(({ seq }) => seq));
    expect(Math.max(...confirmed.map(({ length }) => length))).toBe(1_000);
    expect(confirmed.flat()).toEqual(all);
  });

  it("confirms again what a failed read took with it", async () => {
    const log = createLog();
    log.entries = [entry(1)];
    await log.feed.read();
    log.now = 10;
    log.entries.push(entry(2));
    await log.feed.read();
    log.now = 110;
    log.isDown = true;
    await expect(log.feed.read()).rejects.toThrow("down");
    log.isDown = false;
    await log.feed.read();
    expect(log.asked.flatMap(({ acks }) => acks.map(({ seq }) => seq))).toEqual([1, 2, 2]);
  });

  it("is current for three seconds after it asked, not after it was answered", async () => {
    const log = createLog();
    expect(log.feed.isCurrent()).toBe(false);
    const release = log.hold();
    const reading = log.feed.read();
    log.now = 2_000;
    release();
    await reading;
    expect(log.feed.isCurrent()).toBe(true);
    log.now = 3_000;
    expect(log.feed.isCurrent()).toBe(false);
  });

  it("costs an operation nothing while it is current", async () => {
    const log = createLog();
    await log.feed.read();
    log.isDown = true;
    log.now = 2_999;
    await log.feed.assertCurrent();
    expect(log.asked).toHaveLength(1);
  });

  it("makes all operations wait for one read when it is not, and refuses them when that fails", async () => {
    const log = createLog();
    await log.feed.read();
    log.now = 3_000;
    log.entries.push(entry(1));
    const release = log.hold();
    const waiting = [log.feed.assertCurrent(), log.feed.assertCurrent(), log.feed.assertCurrent()];
    release();
    await Promise.all(waiting);
    expect(log.applied).toEqual(["s1"]);
    expect(log.asked.map(({ after }) => after)).toEqual([undefined, undefined, 1]);

    log.now = 7_000;
    log.isDown = true;
    await expect(log.feed.assertCurrent()).rejects.toMatchObject({ code: "UNAVAILABLE", reason: "REVOCATION_UNKNOWN" });
    log.isDown = false;
    await log.feed.assertCurrent();
  });

  it("refuses no operation for the failure of a read that began before it came", async () => {
    const log = createLog();
    log.isDown = true;
    const fail = log.hold();
    const reading = log.feed.read();
    const release = log.hold();
    const admitted = log.feed.assertCurrent();
    fail();
    await expect(reading).rejects.toThrow("down");
    log.isDown = false;
    release();
    await admitted;
    expect(log.asked).toHaveLength(2);
  });

  it("takes its leave with what it has yet to confirm, after the read under way, and asks no more", async () => {
    vi.useFakeTimers();
    onTestFinished(() => void vi.useRealTimers());
    const log = createLog();
    log.entries = [entry(1)];
    await log.feed.read();
    log.now = 10;
    log.entries.push(entry(2));
    const release = log.hold();
    const reading = log.feed.read();
    const leaving = log.feed.leave();
    expect(log.left).toEqual([]);
    release();
    await Promise.all([reading, leaving]);
    expect(log.left).toEqual([[2]]);
    const asked = log.asked.length;
    log.feed.notice(3);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(log.asked).toHaveLength(asked);
  });

  it("is not current until it has caught up", async () => {
    const log = createLog();
    log.entries = [1, 2, 3, 4, 5].map(entry);
    const first = log.hold();
    const reading = log.feed.read();
    const second = log.hold();
    first();
    await vi.waitFor(() => expect(log.applied).toEqual(["s1", "s2"]));
    expect(log.feed.isCurrent()).toBe(false);
    second();
    await reading;
    expect(log.feed.isCurrent()).toBe(true);
  });

  it("says why it is not current, once, from the start on", async () => {
    const log = createLog();
    const fail = async (): Promise<void> => {
      log.isDown = true;
      await expect(log.feed.read()).rejects.toThrow("down");
      log.isDown = false;
    };
    const [current, unknown] = [
      "revocations are current",
      "revocations are not current: every operation waits for a read: down",
    ];
    await fail();
    await fail();
    expect(log.said).toEqual([unknown]);
    await log.feed.read();
    log.now = 2_999;
    await fail();
    expect(log.said).toEqual([unknown, current]);
    log.now = 3_000;
    await fail();
    await fail();
    await log.feed.read();
    expect(log.said).toEqual([unknown, current, unknown, current]);
  });

  it("reads once more when a poke comes during a read, and not for old news", async () => {
    const log = createLog();
    log.entries = [entry(1)];
    await log.feed.read();
    const before = log.asked.length;
    log.feed.notice(1);
    expect(log.asked).toHaveLength(before);
    const release = log.hold();
    const reading = log.feed.read();
    log.entries.push(entry(2));
    log.feed.notice(2);
    release();
    await reading;
    expect(log.applied).toEqual(["s1", "s2"]);
  });

  it("reads once for all pokes of what it finds", async () => {
    const log = createLog();
    log.entries = [entry(1)];
    await log.feed.read();
    const before = log.asked.length;
    log.entries.push(entry(2), entry(3));
    for (const seq of [3, 2]) log.feed.notice(seq);
    await log.feed.read();
    expect(log.applied).toEqual(["s1", "s2", "s3"]);
    expect(log.asked).toHaveLength(before + 1);
  });

  it("starts over when the log does not go on from what was read of it, and confirms nothing that it does not have", async () => {
    const log = createLog();
    log.entries = [7, 8].map(entry);
    await log.feed.read();
    log.entries = [1, 2, 3].map(entry);
    await log.feed.read();
    expect(log.applied).toEqual(["s7", "s8", "s1", "s2", "s3"]);
    // The new log has no entry after the position that was read last.
    log.entries = [1, 2, 3].map((seq) => ({ ...entry(seq), at: "later", sessionIds: [`later${seq}`] }));
    log.now = 50;
    await log.feed.read();
    expect(log.applied.slice(5)).toEqual(["later1", "later2", "later3"]);
    log.now = 2_000;
    await log.feed.read();
    expect(log.asked.at(-1)).toEqual({ after: 3, acks: [1, 2, 3].map((seq) => ({ seq, socketsClosed: 1 })) });

    log.entries = [];
    await log.feed.read();
    expect(log.feed.isCurrent()).toBe(true);
    expect(log.asked.at(-1)).toEqual({ after: 3, acks: [] });
    await log.feed.read();
    expect(log.asked.at(-1)).toEqual({ after: undefined, acks: [] });
  });

  it("brings a gateway that reads the log from anywhere to the same ended sessions as one that read it all", async () => {
    const change = fc.record({ session: fc.nat({ max: 5 }), effect: fc.constantFrom("ENDED" as const, "RESTORED") });
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 30 }), fc.nat(), async (changes, start) => {
        const log = changes.map(({ session, effect }, index) => ({
          ...entry(index + 1),
          effect,
          sessionIds: [`s${session}`],
        }));
        const from = start % log.length;
        const [whole, part] = [await endedAfter(log), await endedAfter(log.slice(from))];
        const named = new Set(log.slice(from).flatMap(({ sessionIds }) => sessionIds));
        expect([...part].sort()).toEqual([...whole].filter((sessionId) => named.has(sessionId)).sort());
      }),
    );
  });
});

/** The sessions that a gateway starting with this log considers ended. */
async function endedAfter(entries: readonly Revocation[]): Promise<Set<string>> {
  const revocations = createRevocationSet(() => 0);
  const feed = createRevocationFeed({
    fetchPage: async (after) => {
      const newer = entries.filter(({ seq }) => after === null || seq > after.seq);
      return { continues: true, hasMore: newer.length > 2, revocations: newer.slice(0, 2) };
    },
    apply({ effect, sessionIds, reason }) {
      for (const sessionId of sessionIds)
        if (effect === "ENDED") revocations.add(sessionId, reason);
        else revocations.remove(sessionId);
      return 0;
    },
    leave: async () => undefined,
    now: () => 0,
    logger: createLogger({ name: "test", level: "silent" }),
  });
  await feed.read();
  return new Set(
    entries.flatMap(({ sessionIds }) => sessionIds).filter((id) => revocations.endReasonOf(id) !== undefined),
  );
}
