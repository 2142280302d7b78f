import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fold, histories, replicaId } from "./history.fixture.ts";
import { jsonBytes } from "./json.ts";
import type { Context } from "./kind.ts";
import { payloads } from "./payload.fixture.ts";
import { set } from "./set.ts";
import type { SetState } from "./state.ts";

describe("a set", () => {
  it("holds an element exactly while there is an addition that no removal knew of", () => {
    fc.assert(
      fc.property(histories(set, payloads.SET), ({ rounds, otherwise }) => {
        const ops = rounds.flat();
        const left = ops.flatMap((addition) => {
          if (addition.payload.type !== "ADD") return [];
          const { element } = addition.payload;
          const removed = ops.some(
            ({ payload, saw }) =>
              saw.has(addition) &&
              (payload.type === "DELETE" || (payload.type === "REMOVE" && payload.element === element)),
          );
          return removed ? [] : [element];
        });
        expect(set.view(fold(set, otherwise).state) ?? []).toEqual([...new Set(left)].sort());
      }),
      { numRuns: 500 },
    );
  });

  it("lets an addition win over a removal that did not know of it", () => {
    const laptop = set.apply(set.initial, { type: "ADD", element: "film" }, by(1, { rev: 1, baseRev: 0 })).state;
    const phone = set.apply(laptop, { type: "REMOVE", element: "film" }, by(0, { rev: 2, baseRev: 0 }));
    expect(phone).toEqual({ outcome: "MERGED", state: laptop, losers: [] });
    expect(set.view(phone.state)).toEqual(["film"]);
  });

  it("lets an author remove what they added, before they heard of its revision", () => {
    const both = [by(1, { rev: 1, baseRev: 0 }), by(0, { rev: 2, baseRev: 0 })].reduce<SetState>(
      (state, context) => set.apply(state, { type: "ADD", element: "film" }, context).state,
      set.initial,
    );
    const removed = set.apply(both, { type: "REMOVE", element: "film" }, by(0, { rev: 3, baseRev: 0 }));
    expect(removed.outcome).toBe("MERGED");
    expect(removed.state.elements[0]?.additions).toMatchObject([{ rev: 1 }]);
    const gone = set.apply(removed.state, { type: "REMOVE", element: "film" }, by(1, { rev: 4, baseRev: 0 }));
    expect(gone.outcome).toBe("APPLIED");
    expect(set.view(gone.state)).toBeUndefined();
  });

  it("keeps one addition of an element that is added again by those who know of it", () => {
    let state = set.initial;
    for (let rev = 1; rev <= 50; rev += 1)
      ({ state } = set.apply(state, { type: "ADD", element: "film" }, by(rev % 3, { rev, baseRev: rev - 1 })));
    expect(state.elements).toHaveLength(1);
    expect(state.elements[0]?.additions).toHaveLength(1);
  });

  it("that is full refuses what would make it larger, and lets go all the same", () => {
    const additions = [{ stamp: { ms: 1, counter: 0, clientId: replicaId(1) }, rev: 1 }];
    const names = Array.from({ length: 390 }, (_, index) => String(100 + index).padEnd(256, "é"));
    let state: SetState = { elements: names.map((name) => ({ name, additions })) };
    let refused;
    for (let rev = 2; refused === undefined; rev += 1) {
      const element = String(rev).padEnd(256, "x");
      const added = set.apply(state, { type: "ADD", element }, by(0, { rev, baseRev: 0 }));
      if (added.outcome === "REJECTED") refused = added;
      else ({ state } = added);
    }
    expect(refused).toMatchObject({ reason: "STATE_TOO_LARGE", state });
    expect(jsonBytes(state)).toBeGreaterThan(set.maxStateBytes - 1024);
    expect(set.apply(state, { type: "DELETE" }, by(0, { rev: 9999, baseRev: 9998 })).outcome).toBe("APPLIED");
  });
});

function by(replica: number, { rev, baseRev }: Pick<Context, "rev" | "baseRev">): Context {
  const stamp = { ms: rev, counter: 0, clientId: replicaId(replica) };
  return { stamp, seen: null, deviceId: replicaId(replica, "d"), baseRev, rev };
}
