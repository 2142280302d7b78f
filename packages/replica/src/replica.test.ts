import { effectiveStamp, fenced, KINDS, type Json, type ResumePolicy } from "@continuo/merge";
import { MAX_OPS, MAX_PUSH_BYTES, PushRequest, type OutcomeMessage, type StateBatch } from "@continuo/merge/protocol";
import { describe, expect, it } from "vitest";
import {
  change,
  createReplica,
  forgotten,
  pull,
  push,
  receive,
  settle,
  shiftClock,
  show,
  type Replica,
} from "./index.ts";
import type { Entry } from "./replica.ts";

const ME = "0199a1c2-0000-4000-8000-000000000001";
const OTHER = "0199a1c2-0000-4000-8000-000000000002";
const DEVICE = "0199a1c2-0000-4000-8000-000000000003";
const EPOCH = "0199a1c2-0000-4000-8000-000000000004";
const NOW = 1_000_000;
const COUNT = { namespace: "watch", key: "dune", field: "plays" };
const TITLE = { namespace: "watch", key: "dune", field: "title" };
const clock = { now: NOW, kinds: KINDS };

function batch(about: Partial<StateBatch>): StateBatch {
  return {
    from: null,
    to: "c1",
    entries: [],
    hasMore: false,
    headRev: 1,
    epoch: EPOCH,
    lastSeq: null,
    reset: null,
    serverNow: NOW,
    ...about,
  };
}

const counted = (value: number, rev = 1): Entry => ({
  ...COUNT,
  kind: "COUNTER",
  state: { value },
  value,
  deleted: false,
  rev,
  schemaVersion: 1,
});

const titled = (title: string, rev = 1): Entry => {
  const stamp = { ms: NOW - 10, counter: 3, clientId: OTHER };
  const state = { standing: { value: title, deleted: false, stamp }, history: [] };
  return { ...TITLE, kind: "REGISTER", state, value: title, deleted: false, rev, schemaVersion: 1 };
};

const from = (since: string | null, clientId = ME) => ({ since, clientId });

/** A copy that has pulled for the first time. */
function started(...entries: Entry[]): Replica {
  return receive(
    createReplica({ clientId: ME, deviceId: DEVICE }),
    from(null),
    batch({ reset: "INITIAL", entries }),
    NOW,
  );
}

const add = (replica: Replica, delta = 1): Replica =>
  change(replica, { ...COUNT, kind: "COUNTER", payload: { type: "ADD", delta }, schemaVersion: 1 }, clock);
const entitle = (replica: Replica, value: Json): Replica =>
  change(replica, { ...TITLE, kind: "REGISTER", payload: { type: "SET", value }, schemaVersion: 1 }, clock);
const count = (replica: Replica): unknown => show(replica, COUNT, "COUNTER", KINDS).value;
const title = (replica: Replica): unknown => show(replica, TITLE, "REGISTER", KINDS).value;

function sent(replica: Replica): { replica: Replica; request: PushRequest } {
  const made = push(replica, NOW);
  if (made === null) throw new Error("there is nothing to send");
  PushRequest.parse(made.request);
  return made;
}

function answered(replica: Replica, ...outcomes: OutcomeMessage[]): Replica {
  const answer = {
    lastSeq: outcomes.at(-1)?.seq ?? 0,
    headRev: replica.rev + 2,
    serverNow: NOW + 5,
    stop: null,
    retryAfterMs: null,
  };
  return settle(replica, { clientId: ME }, { ...answer, outcomes, quotaRemaining: { bytes: 1, entries: 1 } }, NOW);
}

const applied = (seq: number): OutcomeMessage => ({
  seq,
  status: "APPLIED",
  rev: 2,
  stamp: { ms: NOW, counter: 0, clientId: ME },
  current: null,
  losers: [],
});
const refused = { reason: "VALUE_INVALID", message: "no" } as const;

describe("progress", () => {
  const FILM = { namespace: "life", key: "film", field: "position" };
  const report = (replica: Replica, position: number, fence?: number): Replica => {
    const lease = fence === undefined ? {} : { fence };
    const payload = { type: "REPORT", epoch: 0, position, duration: 7_000, unit: "SECONDS", intent: "SEEK", ...lease };
    return change(replica, { ...FILM, kind: "PROGRESS", payload, schemaVersion: 1 }, clock);
  };
  const answer = (replica: Replica, policy?: ResumePolicy): unknown =>
    show(replica, FILM, "PROGRESS", KINDS, NOW, policy).value;

  it("is shown by the policy of its namespace", () => {
    const rewound = report(report(started(), 3_000), 100);
    expect(answer(rewound)).toMatchObject({ answer: { position: 100 } });
    expect(answer(rewound, "FURTHEST")).toMatchObject({ answer: { position: 3_000 } });
  });

  it("that was taken over is not moved by what this device does under its old lease, before the server says so", () => {
    const watched = KINDS.PROGRESS.apply(
      KINDS.PROGRESS.initial,
      { type: "REPORT", epoch: 0, position: 900, duration: 7_000, unit: "SECONDS", intent: "PLAY", fence: 1 },
      { stamp: { ms: NOW - 1, counter: 0, clientId: OTHER }, seen: null, deviceId: OTHER, baseRev: 0, rev: 1 },
    ).state;
    const taken: Entry = { ...counted(0), ...FILM, kind: "PROGRESS", state: fenced(watched, 2), value: null };
    expect(answer(report(started(taken), 5_000, 1))).toMatchObject({ answer: { position: 900 } });
    expect(answer(report(started(taken), 5_000, 2))).toMatchObject({ answer: { position: 5_000 } });
  });
});

describe("an entry whose time is up", () => {
  const kept = (value: string): Entry => ({ ...titled(value), expiresAt: NOW + 60_000 });
  const at = (replica: Replica, now: number): unknown => show(replica, TITLE, "REGISTER", KINDS, now).value;

  it("is shown until then by the server's clock, and no longer, without a word from anybody", () => {
    const first = batch({ reset: "INITIAL", entries: [kept("Dune")], serverNow: NOW + 5_000 });
    const replica = receive(createReplica({ clientId: ME, deviceId: DEVICE }), from(null), first, NOW);
    for (const jump of [0, 3_600_000]) {
      const shifted = shiftClock(replica, jump);
      expect([at(shifted, NOW + jump + 54_999), at(shifted, NOW + jump + 55_000)]).toEqual(["Dune", undefined]);
    }
    expect(at(started(titled("Dune")), Number.MAX_SAFE_INTEGER)).toBe("Dune");
  });

  it("takes up an own change as the server will: nothing stands in its way, and nothing of it comes back", () => {
    const entry: Entry = { ...counted(5), expiresAt: NOW };
    const changed = add(started(entry));
    expect(show(changed, COUNT, "COUNTER", KINDS, NOW).value).toBe(1);
    const titledAnew = entitle(started({ ...titled("Dune"), expiresAt: NOW }), "Emma");
    expect(show(titledAnew, TITLE, "REGISTER", KINDS, NOW).state).toMatchObject({
      standing: { value: "Emma" },
      history: [],
    });
  });
});

describe("an own change", () => {
  it("is shown at once and never jumps on its way to the server and back", () => {
    const changed = add(started(counted(5)));
    expect(count(changed)).toBe(6);
    const { replica, request } = sent(changed);
    expect(request).toMatchObject({ clientId: ME, epoch: EPOCH, ops: [{ seq: 1, baseRev: 1 }] });
    expect(count(replica)).toBe(6);
    const settled = answered(replica, applied(1));
    expect(push(settled, NOW)).toBeNull();
    expect(sent(add(settled)).request.pending).toBe(0);
    expect([count(settled), settled.clockError]).toEqual([6, 5]);
    const others = receive(
      settled,
      from("c1"),
      batch({ from: "c1", to: "c2", headRev: 2, entries: [titled("Dune", 2)] }),
      NOW,
    );
    expect([count(others), title(others)]).toEqual([6, "Dune"]);
    // Sent by a stream that does not know its recipient.
    const told = batch({ from: "c1", to: "c2", headRev: 3, entries: [counted(6, 3)] });
    expect(receive(settled, from("c1"), told, NOW)).toMatchObject({ queue: [], cursor: "c2" });
    const back = receive(
      settled,
      from("c1"),
      batch({ from: "c1", to: "c2", headRev: 2, lastSeq: 1, entries: [counted(6, 2)] }),
      NOW,
    );
    expect(count(back)).toBe(6);
    expect(back.queue).toEqual([]);
  });

  it("whose answer was lost is not shown twice, and is sent again as it was until it is answered", () => {
    const { replica, request } = sent(add(started(counted(5))));
    const back = receive(
      replica,
      from("c1"),
      batch({ from: "c1", to: "c2", headRev: 2, lastSeq: 1, entries: [counted(6, 2)] }),
      NOW,
    );
    expect(count(back)).toBe(6);
    // Nor after a message of a stream that does not know its recipient.
    const told = batch({ from: "c2", to: "c3", headRev: 3, entries: [titled("Dune", 3)] });
    expect(count(receive(back, from("c2"), told, NOW))).toBe(6);
    const again = sent(add(back, 10));
    expect(again.request.ops[0]).toEqual(request.ops[0]);
    expect(again.request.ops[1]).toMatchObject({ seq: 2, baseRev: 2 });
    expect(count(again.replica)).toBe(16);
    const settled = answered(again.replica, { seq: 1, status: "DUPLICATE", first: null, rev: 2 }, applied(2));
    expect(settled.queue.map(({ seq }) => seq)).toEqual([2]);
    expect(count(settled)).toBe(16);
  });

  it("that is refused is shown no more and kept for the application, also when that was said in an answer that was lost", () => {
    const { replica } = sent(add(add(started(counted(5))), 10));
    const settled = answered(
      replica,
      { seq: 1, status: "REJECTED", ...refused, current: 5 },
      { seq: 2, status: "DUPLICATE", first: { status: "REJECTED", ...refused }, rev: null },
    );
    expect(count(settled)).toBe(5);
    expect(settled.rejected).toMatchObject([
      { op: { seq: 1 }, ...refused },
      { op: { seq: 2 }, ...refused },
    ]);
    expect(answered(settled, { seq: 1, status: "REJECTED", ...refused, current: 5 })).toEqual(settled);
  });

  it("says what its author had before their eyes", () => {
    const { request } = sent(entitle(entitle(started(titled("Dune", 4)), "Arrakis"), "Spice"));
    expect(request.ops).toMatchObject([
      { seen: { ms: NOW - 10, counter: 3 }, stamp: { ms: NOW, counter: 0 } },
      { seen: { ms: NOW - 10, counter: 3 }, stamp: { ms: NOW, counter: 1 } },
    ]);
    expect(sent(entitle(started(), "Dune")).request.ops).toMatchObject([{ seen: null }]);
  });

  it("waits for the first pull, and is one of at most so many and so large", () => {
    expect(push(add(createReplica({ clientId: ME, deviceId: DEVICE })), NOW)).toBeNull();
    let many = started();
    for (let made = 0; made < MAX_OPS + 5; made += 1) many = add(many);
    const first = sent(many);
    expect(first.request.ops.map(({ seq }) => seq)).toEqual(Array.from({ length: MAX_OPS }, (_, index) => index + 1));
    expect([first.request.pending, push(add(first.replica), NOW)?.request.pending]).toEqual([5, 6]);
    const rest = sent(answered(first.replica, ...first.request.ops.map(({ seq }) => applied(seq))));
    expect(rest.request.ops.map(({ seq }) => seq)).toEqual([101, 102, 103, 104, 105]);

    let large = started();
    // The names count as well.
    const half = MAX_PUSH_BYTES / 2 - JSON.stringify({ type: "SET", value: "" }).length;
    for (const size of [MAX_PUSH_BYTES + 1, half, half]) large = entitle(large, "x".repeat(size));
    const seqs: number[][] = [];
    for (let next = push(large, NOW); next !== null; next = push(large, NOW)) {
      seqs.push(next.request.ops.map(({ seq }) => seq));
      large = answered(next.replica, ...next.request.ops.map(({ seq }) => applied(seq)));
    }
    expect(seqs).toEqual([[1], [2], [3]]);
  });

  it("keeps its age when somebody sets the device's clock", () => {
    const jump = 3_600_000;
    const { stamp } = sent(entitle(started(), "Dune")).request.ops[0] ?? {};
    const later = sent(shiftClock(entitle(started(), "Dune"), jump)).request.ops[0];
    const arrives = (made: typeof stamp, clientNow: number): unknown =>
      effectiveStamp(
        { ms: 0, counter: 0, ...made, clientId: ME },
        { clientNow, serverNow: NOW + 50, seen: null, standing: [] },
      );
    expect(arrives(later?.stamp, NOW + jump + 50)).toEqual(arrives(stamp, NOW + 50));
    const back = shiftClock(entitle(started(), "Dune"), -600_000);
    const next = change(
      back,
      { ...TITLE, kind: "REGISTER", payload: { type: "SET", value: "Emma" }, schemaVersion: 1 },
      { ...clock, now: NOW - 599_990 },
    );
    expect(next.lastStamp).toEqual({ ms: NOW - 599_990, counter: 0 });
    // A clock ahead does not let it win either.
    const serverNow = NOW - jump;
    const ahead = receive(
      createReplica({ clientId: ME, deviceId: DEVICE }),
      from(null),
      batch({ reset: "INITIAL", serverNow }),
      NOW,
    );
    const theirs = batch({ from: "c1", to: "c2", headRev: 2, entries: [titled("Soon", 2)], serverNow });
    expect(title(receive(entitle(ahead, "Dune"), from("c1"), theirs, NOW))).toBe("Soon");
    // Also once it is answered and not back yet.
    const settled = answered(sent(entitle(started(), "Dune")).replica, applied(1));
    const met = receive(
      settled,
      from("c1"),
      batch({ from: "c1", to: "c2", headRev: 2, entries: [titled("Soon", 2)] }),
      NOW,
    );
    expect([title(met), title(shiftClock(met, jump))]).toEqual(["Dune", "Dune"]);
  });
});

describe("what others changed", () => {
  const first = batch({ from: "c1", to: "c2", headRev: 3, hasMore: true, entries: [titled("Dune", 2)] });
  const last = batch({ from: "c2", to: "c3", headRev: 3, entries: [counted(9, 3)] });

  it("is shown when it is whole", () => {
    const half = receive(started(counted(5), titled("Soon")), from("c1"), first, NOW);
    expect([title(half), count(half), half.rev]).toEqual(["Soon", 5, 1]);
    expect(pull(half).since).toBe("c2");
    const whole = receive(half, from("c2"), last, NOW);
    expect([title(whole), count(whole), whole.rev, whole.cursor]).toEqual(["Dune", 9, 3, "c3"]);
  });

  it("is left alone when it does not follow, whether it is late, doubled or behind a gap", () => {
    const replica = receive(receive(started(counted(5)), from("c1"), first, NOW), from("c2"), last, NOW);
    for (const [since, message] of [
      ["c1", first],
      ["c2", last],
      [null, batch({ reset: "INITIAL", entries: [counted(5)] })],
      ["c3", batch({ from: "c4", to: "c5", headRev: 5, entries: [counted(11, 5)] })],
      ["c4", batch({ from: "c4", to: "c5", headRev: 5, entries: [counted(11, 5)] })],
    ] as const)
      expect(receive(replica, from(since), message, NOW)).toBe(replica);
    // Somebody else's.
    const next = batch({ from: "c3", to: "c4", headRev: 5 });
    expect(receive(replica, from("c3", OTHER), next, NOW)).toBe(replica);
    expect(receive(replica, from("c3"), next, NOW)).not.toBe(replica);
  });

  it("takes the place of all that is there after a reset, in one piece, and own changes stay upon it", () => {
    const replica = add(started(counted(5), titled("Dune")));
    const half = receive(replica, from("c1"), batch({ to: "r1", reset: "PRUNED", hasMore: true, headRev: 9 }), NOW);
    expect([title(half), count(half)]).toEqual(["Dune", 6]);
    const whole = receive(half, from("r1"), batch({ from: "r1", to: "r2", headRev: 9, entries: [counted(2, 8)] }), NOW);
    expect([title(whole), count(whole), whole.entries.size]).toEqual([undefined, 3, 1]);
    // Nor is anything left of the pages before it.
    const reset = batch({ to: "r1", reset: "EPOCH_CHANGED", entries: [counted(2)] });
    const anew = receive(receive(started(), from("c1"), first, NOW), from("c2"), reset, NOW);
    expect([title(anew), count(anew)]).toEqual([undefined, 2]);
  });

  it("of a server that was restored has lost own changes, and those that are still here are sent again", () => {
    const { replica } = sent(add(add(started(counted(5))), 10));
    const settled = answered(replica, applied(1), applied(2));
    const restored = batch({
      from: "c1",
      to: "r1",
      reset: "EPOCH_CHANGED",
      epoch: OTHER,
      lastSeq: 1,
      entries: [counted(6)],
    });
    const back = receive(settled, from("c1"), restored, NOW);
    expect(count(back)).toBe(16);
    expect(sent(back).request).toMatchObject({ clientId: ME, epoch: OTHER, ops: [{ seq: 2, payload: { delta: 10 } }] });
    // Unanswered ops are sent again even if they are in the backup: they may have been rejected.
    expect(sent(receive(replica, from("c1"), restored, NOW)).request.ops.map(({ seq }) => seq)).toEqual([1, 2]);
    // So are ops that had come back but were not answered yet.
    const told = batch({ from: "c1", to: "c2", headRev: 2, lastSeq: 2, entries: [counted(16, 2)] });
    const lost = { ...restored, from: "c2", lastSeq: 0, entries: [counted(5)] };
    const anew = receive(receive(replica, from("c1"), told, NOW), from("c2"), lost, NOW);
    expect([count(anew), anew.rev]).toEqual([16, 1]);
  });

  it("is nothing that its kind never made", () => {
    const wrong = { ...counted(1), state: { value: "many" } };
    expect(() => receive(started(), from("c1"), batch({ from: "c1", to: "c2", entries: [wrong] }), NOW)).toThrow(
      "invalid",
    );
    expect(show(started(titled("Dune")), TITLE, "COUNTER", KINDS).value).toBe(0);
  });
});

it("a device that the server has forgotten sends what is not settled under a new id, and counts nothing twice", () => {
  const replica = entitle(sent(add(started(counted(5)))).replica, "Dune");
  const back = batch({ from: "c1", to: "c2", headRev: 2, lastSeq: 1, entries: [counted(6, 2)] });
  const settled = add(receive(answered(sent(replica).replica, applied(1)), from("c1"), back, NOW), 3);
  const again = { clientId: OTHER, now: NOW + 9, isCounter: ({ field }: { field: string }) => field === COUNT.field };
  const anew = forgotten(settled, again);
  const half = receive(settled, from("c2"), batch({ from: "c2", to: "c3", hasMore: true }), NOW);
  expect(pull(forgotten(half, again))).toMatchObject({ since: null, clientId: OTHER });
  // What was acknowledged comes back with the first pull, if at all.
  expect(forgotten(answered(sent(add(started())).replica, applied(1)), again).queue).toEqual([]);
  expect(push(anew, NOW)).toBeNull();
  expect(answered(anew, applied(1))).toBe(anew);
  const { replica: resumed, request } = sent(
    receive(anew, from(null, OTHER), batch({ reset: "EPOCH_CHANGED", entries: [counted(6)] }), NOW),
  );
  expect([count(resumed), title(resumed)]).toEqual([9, "Dune"]);
  expect(request).toMatchObject({
    clientId: OTHER,
    ops: [
      { seq: 1, field: "title" },
      { seq: 2, field: "plays", payload: { delta: 3 } },
    ],
  });

  const uncertain = forgotten(sent(settled).replica, { ...again, prunedBefore: NOW + 1 });
  expect(uncertain.rejected).toMatchObject([{ op: { payload: { delta: 3 } }, reason: "UNCERTAIN" }]);
  expect(uncertain.queue).toMatchObject([{ field: "title", seq: null }]);
  expect(forgotten(uncertain, again).rejected).toEqual(uncertain.rejected);
  // By the server's clock it was made after that.
  const slow = forgotten(sent({ ...settled, clockError: 5_000 }).replica, { ...again, prunedBefore: NOW + 1 });
  expect(slow.rejected).toEqual([]);
  // What was never sent cannot have been counted, and says so by its stamp.
  const unsent = forgotten(settled, { ...again, prunedBefore: NOW + 1 });
  expect(unsent.rejected).toEqual([]);
  expect(unsent.queue).toMatchObject([
    { field: "title", stamp: { ms: NOW } },
    { field: "plays", stamp: { ms: NOW + 9 } },
  ]);
});
