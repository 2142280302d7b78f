import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fold, histories, replicaId } from "./history.fixture.ts";
import type { Context } from "./kind.ts";
import { map } from "./map.ts";
import { payloads } from "./payload.fixture.ts";
import { compareStamps } from "./stamp.ts";

describe("a map", () => {
  it("shows of each member the latest write that neither a later write nor a deletion knew of", () => {
    fc.assert(
      fc.property(histories(map, payloads.MAP), ({ rounds, otherwise }) => {
        const ops = rounds.flat();
        const left = ops
          .flatMap(({ payload, context }, _, all) => {
            if (payload.type === "DELETE") return [];
            const { name } = payload;
            const own = all[ops.findIndex((op) => op.payload === payload)];
            const over = ops.some(
              (other) =>
                own !== undefined &&
                other.saw.has(own) &&
                (other.payload.type === "DELETE" || other.payload.name === name),
            );
            return over
              ? []
              : [{ name, value: payload.type === "SET" ? payload.value : undefined, stamp: context.stamp }];
          })
          .sort((one, other) => compareStamps(one.stamp, other.stamp));
        const latest = new Map(left.map(({ name, value }) => [name, value]));
        const expected = Object.fromEntries([...latest].filter(([, value]) => value !== undefined));
        expect(map.view(fold(map, otherwise).state) ?? {}).toEqual(expected);
      }),
      { numRuns: 500 },
    );
  });

  it("names a write that gave way unseen, once", () => {
    const set = (value: string, replica: number, rev: number, state = map.initial) =>
      map.apply(state, { type: "SET", name: "a", value }, by(replica, { ms: rev, rev, baseRev: 0 }));
    const phone = set("phone", 0, 1);
    const laptop = set("laptop", 1, 2, phone.state);
    const tablet = set("tablet", 2, 3, laptop.state);
    const losers = [phone, laptop, tablet].map((applied) => applied.losers.map(({ value }) => value));
    expect(losers).toEqual([[], ["phone"], ["laptop"]]);
  });

  it("that is deleted keeps what its deleter had not seen", () => {
    const one = map.apply(
      map.initial,
      { type: "SET", name: "seen", value: 1 },
      by(0, { ms: 1, rev: 1, baseRev: 0 }),
    ).state;
    const two = map.apply(one, { type: "SET", name: "unseen", value: 2 }, by(1, { ms: 2, rev: 2, baseRev: 1 })).state;
    const deleted = map.apply(two, { type: "DELETE" }, by(0, { ms: 3, rev: 3, baseRev: 1 }));
    expect(deleted.outcome).toBe("MERGED");
    expect(map.view(deleted.state)).toEqual({ unseen: 2 });
    expect(map.apply(deleted.state, { type: "DELETE" }, by(0, { ms: 4, rev: 4, baseRev: 3 })).state).toEqual(
      map.initial,
    );
  });

  it("that is too large, be it of two that were joined, takes what makes it smaller and nothing else", () => {
    const of = (name: string, replica: number) =>
      map.apply(
        map.initial,
        { type: "SET", name, value: "x".repeat(200_000) },
        by(replica, { ms: 1, rev: 1, baseRev: 0 }),
      ).state;
    const joined = map.join(of("a", 0), of("b", 1));
    const set = (value: string) =>
      map.apply(joined, { type: "SET", name: "a", value }, by(0, { ms: 2, rev: 2, baseRev: 1 }));
    expect(set("x".repeat(200_001))).toMatchObject({ outcome: "REJECTED", reason: "STATE_TOO_LARGE" });
    expect(set("x".repeat(190_000)).outcome).toBe("APPLIED");
  });

  it("forgets a member's deletion once everybody has seen it, and not before", () => {
    const set = map.apply(
      map.initial,
      { type: "SET", name: "a", value: 1 },
      by(0, { ms: 1, rev: 1, baseRev: 0 }),
    ).state;
    const { state } = map.apply(set, { type: "UNSET", name: "a" }, by(0, { ms: 5, rev: 2, baseRev: 1 }));
    expect(map.view(state)).toBeUndefined();
    expect(map.prune?.(state, 1)).toBe(state);
    expect(map.prune?.(state, 2)).toEqual(map.initial);
    const late = map.apply(state, { type: "SET", name: "a", value: "late" }, by(1, { ms: 3, rev: 3, baseRev: 0 }));
    expect(late).toMatchObject({ outcome: "MERGED", losers: [{ name: "a", value: "late" }] });
    expect(map.view(late.state)).toBeUndefined();
    expect(map.prune?.(late.state, 2)).toBe(late.state);
  });
});

function by(replica: number, { ms, rev, baseRev }: { ms: number; rev: number; baseRev: number }): Context {
  const stamp = { ms, counter: 0, clientId: replicaId(replica) };
  return { stamp, seen: null, deviceId: replicaId(replica, "d"), baseRev, rev };
}
