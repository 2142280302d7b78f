import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HISTORY_LENGTH, type Write } from "./register.ts";
import { KINDS, merge, unitOf, type Kind, type Unit } from "./merge.ts";
import { compareStamps, type Stamp } from "./stamp.ts";

const CLIENTS = ["a", "b", "c"].map((letter) => `${letter}0000000-0000-4000-8000-000000000000`);

/** Few distinct instants, so that ties between replicas are common. */
const stamps: fc.Arbitrary<Stamp> = fc.record({
  ms: fc.nat(5),
  counter: fc.nat(2),
  clientId: fc.constantFrom(...CLIENTS),
});

/** One stamp is one write, so what is written follows from the stamp. */
function writeAt(kind: Kind, stamp: Stamp): Write {
  const value = (stamp.ms * 7 + stamp.counter * 3 + CLIENTS.indexOf(stamp.clientId)) % 5;
  const deleted = kind === "REGISTER" && value === 0;
  return { value: deleted ? null : value, deleted, stamp };
}

function unitFrom(kind: Kind, written: readonly Stamp[]): Unit {
  const [first, ...rest] = written.map((stamp) => unitOf(kind, writeAt(kind, stamp)));
  if (first === undefined) throw new RangeError("at least one write");
  return rest.reduce((unit, next) => merge(unit, next), first);
}

const units = (kind: Kind): fc.Arbitrary<Unit> =>
  fc.array(stamps, { minLength: 1, maxLength: 9 }).map((written) => unitFrom(kind, written));

describe.each(KINDS)("%s", (kind) => {
  it("merged with itself is itself", () => {
    fc.assert(
      fc.property(units(kind), (unit) => {
        expect(merge(unit, unit)).toEqual(unit);
      }),
    );
  });

  it("does not care which side a state comes from", () => {
    fc.assert(
      fc.property(units(kind), units(kind), (a, b) => {
        expect(merge(a, b)).toEqual(merge(b, a));
      }),
    );
  });

  it("does not care how merges are grouped", () => {
    fc.assert(
      fc.property(units(kind), units(kind), units(kind), (a, b, c) => {
        expect(merge(merge(a, b), c)).toEqual(merge(a, merge(b, c)));
      }),
    );
  });

  it("ends the same whatever the order of arrival", () => {
    const orders = fc
      .array(stamps, { minLength: 1, maxLength: 12 })
      .chain((written) => fc.tuple(fc.constant(written), fc.shuffledSubarray(written, { minLength: written.length })));
    fc.assert(
      fc.property(orders, ([sent, arrived]) => {
        expect(unitFrom(kind, arrived)).toEqual(unitFrom(kind, sent));
      }),
    );
  });
});

describe("a register", () => {
  it("is the latest of all writes, with the five before it as history", () => {
    fc.assert(
      fc.property(fc.array(stamps, { minLength: 1, maxLength: 20 }), (written) => {
        const [standing, ...lost] = [...new Map(written.map((stamp) => [JSON.stringify(stamp), stamp])).values()]
          .sort((a, b) => compareStamps(b, a))
          .map((stamp) => writeAt("REGISTER", stamp));
        expect(unitFrom("REGISTER", written)).toEqual({
          kind: "REGISTER",
          standing,
          history: lost.slice(0, HISTORY_LENGTH),
        });
      }),
    );
  });

  it("lets a later deletion win over an earlier write that arrives after it", () => {
    const deletion = unitOf("REGISTER", { value: null, deleted: true, stamp: at(2) });
    const write = unitOf("REGISTER", { value: "old", deleted: false, stamp: at(1) });
    expect(merge(deletion, write).standing.deleted).toBe(true);
  });

  it("decides a tie of two replicas by their ids, the same on every side", () => {
    const [one = "", other = ""] = CLIENTS;
    const left = unitOf("REGISTER", { value: "left", deleted: false, stamp: { ms: 1, counter: 0, clientId: one } });
    const right = unitOf("REGISTER", { value: "right", deleted: false, stamp: { ms: 1, counter: 0, clientId: other } });
    expect(merge(left, right).standing.value).toBe("right");
    expect(merge(right, left).standing.value).toBe("right");
  });
});

describe("a maximum", () => {
  it("never goes down", () => {
    fc.assert(
      fc.property(units("MAX"), units("MAX"), (a, b) => {
        const { value } = merge(a, b).standing;
        expect(value).toBe(Math.max(Number(a.standing.value), Number(b.standing.value)));
      }),
    );
  });

  it("of two equal numbers keeps the one written first", () => {
    const early = unitOf("MAX", { value: 9, deleted: false, stamp: at(1) });
    const late = unitOf("MAX", { value: 9, deleted: false, stamp: at(2) });
    expect(merge(late, early)).toEqual(early);
  });

  it.each([
    ["text", { value: "9", deleted: false, stamp: at(1) }],
    ["infinity", { value: Number.POSITIVE_INFINITY, deleted: false, stamp: at(1) }],
    ["a deletion", { value: null, deleted: true, stamp: at(1) }],
  ] satisfies [string, Write][])("does not hold %s", (_, write) => {
    expect(() => unitOf("MAX", write)).toThrow(RangeError);
  });
});

it("states of two kinds do not merge", () => {
  const write: Write = { value: 1, deleted: false, stamp: at(1) };
  expect(() => merge(unitOf("MAX", write), unitOf("REGISTER", write))).toThrow(RangeError);
});

function at(ms: number): Stamp {
  return { ms, counter: 0, clientId: CLIENTS[0] ?? "" };
}
