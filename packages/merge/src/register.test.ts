import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Context, Write } from "./kind.ts";
import type { RegisterPayload } from "./payload.ts";
import { replicaId } from "./history.fixture.ts";
import { HISTORY_LENGTH, joinRegisters, register } from "./register.ts";
import { compareStamps, type Stamp } from "./stamp.ts";
import type { RegisterState } from "./state.ts";

/** Few distinct instants, so that ties between replicas are common. */
const stamps: fc.Arbitrary<Stamp> = fc.record({
  ms: fc.nat(5),
  counter: fc.nat(2),
  clientId: fc.nat(2).map((index) => replicaId(index)),
});
const states = fc.array(stamps, { maxLength: 9 }).map(written);

describe("the join of two registers", () => {
  it("of one and the same is that", () => {
    fc.assert(
      fc.property(states, (state) => {
        expect(joinRegisters(state, state)).toEqual(state);
      }),
    );
  });

  it("does not care which side a state comes from", () => {
    fc.assert(
      fc.property(states, states, (a, b) => {
        expect(joinRegisters(a, b)).toEqual(joinRegisters(b, a));
      }),
    );
  });

  it("does not care how joins are grouped", () => {
    fc.assert(
      fc.property(states, states, states, (a, b, c) => {
        expect(joinRegisters(joinRegisters(a, b), c)).toEqual(joinRegisters(a, joinRegisters(b, c)));
      }),
    );
  });
});

describe("a register", () => {
  it("is the latest of all writes, with the latest five of those as history that lost unseen", () => {
    fc.assert(
      fc.property(fc.array(stamps, { minLength: 1, maxLength: 20 }), (given) => {
        let state = register.initial;
        const lost = new Map<string, Write>();
        for (const stamp of given) {
          const applied = register.apply(state, payloadOf(stamp), { ...at(0), stamp });
          for (const { name: _none, ...write } of applied.losers) lost.set(JSON.stringify(write.stamp), write);
          ({ state } = applied);
        }
        const latestFirst = (a: Write, b: Write): number => compareStamps(b.stamp, a.stamp);
        expect(state).toEqual({
          standing: given.map(writeAt).toSorted(latestFirst)[0],
          history: [...lost.values()].toSorted(latestFirst).slice(0, HISTORY_LENGTH),
        });
      }),
    );
  });

  it("remembers nothing of what is overwritten knowingly, and goes on remembering what lost before", () => {
    const phone = register.apply(register.initial, { type: "SET", value: "phone" }, at(1, 0)).state;
    const own = register.apply(phone, { type: "SET", value: "own" }, at(2, 0)).state;
    expect(own.history).toEqual([]);
    const unseen = register.apply(own, { type: "SET", value: "laptop" }, at(3, 1)).state;
    expect(unseen.history).toMatchObject([{ value: "own" }]);
    const seen = { ...at(4, 0), seen: { ms: 3, counter: 0 } };
    const knowing = register.apply(unseen, { type: "SET", value: "knowing" }, seen);
    expect(knowing.state).toMatchObject({ standing: { value: "knowing" }, history: [{ value: "own" }] });
  });

  it("lets a later deletion win over an earlier write that arrives after it", () => {
    const deleted = register.apply(register.initial, { type: "DELETE" }, at(2)).state;
    const { state, outcome } = register.apply(deleted, { type: "SET", value: "old" }, at(1, 1));
    expect(outcome).toBe("MERGED");
    expect(register.view(state)).toBeUndefined();
  });

  it("decides a tie of two replicas by their ids, the same on every side", () => {
    const left = { type: "SET", value: "left" } as const;
    const right = { type: "SET", value: "right" } as const;
    const one = register.apply(register.apply(register.initial, left, at(1, 0)).state, right, at(1, 1));
    const other = register.apply(register.apply(register.initial, right, at(1, 1)).state, left, at(1, 0));
    expect(register.view(one.state)).toBe("right");
    expect(other.state).toEqual(one.state);
  });

  it("that hears of a write again says that nothing changed, also of one that lost", () => {
    const lost = register.apply(register.initial, { type: "SET", value: "lost" }, at(1)).state;
    const { state } = register.apply(lost, { type: "SET", value: "stands" }, at(2));
    for (const [ms, value] of [
      [1, "lost"],
      [2, "stands"],
    ] as const)
      expect(register.apply(state, { type: "SET", value }, at(ms))).toEqual({ outcome: "NOOP", state, losers: [] });
  });

  it("names the write that gave way without having been seen, so that the merge can be undone", () => {
    const phone = register.apply(register.initial, { type: "SET", value: "phone" }, at(1, 0)).state;
    const laptop = register.apply(phone, { type: "SET", value: "laptop" }, at(2, 1));
    expect(laptop).toMatchObject({ outcome: "APPLIED", losers: [{ name: null, value: "phone", deleted: false }] });
    const [lost] = laptop.losers;
    if (lost === undefined) throw new Error("nothing to undo");
    const undone = register.apply(laptop.state, { type: "SET", value: lost.value }, at(3, 0));
    expect(register.view(undone.state)).toBe("phone");
  });

  it("names nothing when the author had seen what they overwrite, or it was their own", () => {
    const phone = register.apply(register.initial, { type: "SET", value: "phone" }, at(1, 0)).state;
    expect(register.apply(phone, { type: "SET", value: "own" }, at(2, 0)).losers).toEqual([]);
    const seen = { ...at(2, 1), seen: { ms: 1, counter: 0 } };
    expect(register.apply(phone, { type: "SET", value: "laptop" }, seen).losers).toEqual([]);
  });
});

function written(given: readonly Stamp[]): RegisterState {
  return given.reduce(
    (state, stamp) => register.apply(state, payloadOf(stamp), { ...at(0), stamp }).state,
    register.initial,
  );
}

function payloadOf(stamp: Stamp): RegisterPayload {
  const { value, deleted } = writeAt(stamp);
  return deleted ? { type: "DELETE" } : { type: "SET", value };
}

/** One stamp is one write, so what is written follows from the stamp. */
function writeAt(stamp: Stamp): Write {
  const value = (stamp.ms * 7 + stamp.counter * 3 + stamp.clientId.charCodeAt(7)) % 5;
  return { value: value === 0 ? null : value, deleted: value === 0, stamp };
}

function at(ms: number, replica = 0): Context {
  const stamp = { ms, counter: 0, clientId: replicaId(replica) };
  return { stamp, seen: null, deviceId: replicaId(replica, "d"), baseRev: 0, rev: 1 };
}
