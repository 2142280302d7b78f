import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fold, histories, replicaId } from "./history.fixture.ts";
import type { Context } from "./kind.ts";
import { list } from "./list.ts";
import { payloads } from "./payload.fixture.ts";
import type { Payload } from "./payload.ts";
import { positionAt } from "./position.ts";
import { compareStamps } from "./stamp.ts";
import type { ListState } from "./state.ts";

describe("a list", () => {
  it("shows of each element the latest insertion that nobody removed or repeated knowingly", () => {
    fc.assert(
      fc.property(histories(list, payloads.LIST), ({ rounds, otherwise }) => {
        const ops = rounds.flat();
        const left = ops.filter((insertion) => {
          if (insertion.payload.type !== "INSERT") return false;
          const { id } = insertion.payload;
          return !ops.some(
            ({ payload, saw }) =>
              saw.has(insertion) &&
              (payload.type === "DELETE" || (["INSERT", "REMOVE"].includes(payload.type) && payload.id === id)),
          );
        });
        left.sort((one, other) => compareStamps(one.context.stamp, other.context.stamp));
        const expected = new Map(
          left.map((insertion) => {
            const id = idOf(insertion.payload);
            const changes = ops.filter(({ payload, saw }) => saw.has(insertion) && idOf(payload) === id);
            changes.sort((one, other) => compareStamps(one.context.stamp, other.context.stamp));
            const made = [insertion, ...changes].map(({ payload }) => payload);
            const positions = made.flatMap((payload) => ("position" in payload ? [payload.position] : []));
            const values = made.flatMap((payload) => ("value" in payload ? [payload.value] : []));
            return [id, { id, value: values.at(-1), position: positions.at(-1) }];
          }),
        );
        const shown = list.view(fold(list, otherwise).state) ?? [];
        expect(new Map(shown.map((element) => [element.id, element]))).toEqual(expected);
        expect(shown.map(({ position }) => position)).toEqual(shown.map(({ position }) => position).sort());
      }),
      { numRuns: 500 },
    );
  });

  it("keeps the order that its author arranged, one moved element at a time", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(20), fc.nat(20)), { maxLength: 30 }),
        fc.infiniteStream(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })),
        (moves, randoms) => {
          const expected: string[] = [];
          let state: ListState = list.initial;
          let rev = 0;
          const apply = (payload: Payload<"LIST">): void => {
            rev += 1;
            ({ state } = list.apply(state, payload, by(0, { rev, baseRev: rev - 1 })));
          };
          const random = (): number => randoms.next().value ?? 0;
          for (const [index, [from, to]] of moves.entries()) {
            if (index % 3 < 2) {
              const at = to % (expected.length + 1);
              const position = positionAt(list.view(state) ?? [], at, random);
              apply({ type: "INSERT", id: `${index}`, value: index, position });
              expected.splice(at, 0, `${index}`);
            } else {
              const [id] = expected.splice(from % expected.length, 1);
              if (id === undefined) throw new Error("nothing to move");
              const at = to % (expected.length + 1);
              const others = (list.view(state) ?? []).filter((element) => element.id !== id);
              apply({ type: "MOVE", id, position: positionAt(others, at, random) });
              expected.splice(at, 0, id);
            }
          }
          expect((list.view(state) ?? []).map(({ id }) => id)).toEqual(expected);
        },
      ),
    );
  });

  it("does not bring an element back that was removed while somebody moved or changed it", () => {
    const there = list.apply(
      list.initial,
      { type: "INSERT", id: "film", value: 1, position: "a0" },
      by(0, { rev: 1, baseRev: 0 }),
    ).state;
    const gone = list.apply(there, { type: "REMOVE", id: "film" }, by(0, { rev: 2, baseRev: 1 })).state;
    for (const payload of [
      { type: "MOVE", id: "film", position: "a1" },
      { type: "SET", id: "film", value: 2 },
    ] as const)
      expect(list.apply(gone, payload, by(1, { rev: 3, baseRev: 1 }))).toMatchObject({
        outcome: "SUPERSEDED",
        state: { insertions: [] },
        losers: [{ name: "film" }],
      });
  });

  it("orders elements that were put to one spot by their ids, the same everywhere", () => {
    const insert = (state: ListState, id: string, replica: number, rev: number): ListState =>
      list.apply(state, { type: "INSERT", id, value: id, position: "a0" }, by(replica, { rev, baseRev: 0 })).state;
    const one = insert(insert(list.initial, "b", 0, 1), "a", 1, 2);
    const other = insert(insert(list.initial, "a", 1, 1), "b", 0, 2);
    expect(list.view(one)?.map(({ id }) => id)).toEqual(["a", "b"]);
    expect(list.view(other)).toEqual(list.view(one));
  });
});

function idOf(payload: Payload<"LIST">): string | undefined {
  return payload.type === "DELETE" ? undefined : payload.id;
}

function by(replica: number, { rev, baseRev }: Pick<Context, "rev" | "baseRev">): Context {
  const stamp = { ms: rev, counter: 0, clientId: replicaId(replica) };
  return { stamp, seen: null, deviceId: replicaId(replica, "d"), baseRev, rev };
}
