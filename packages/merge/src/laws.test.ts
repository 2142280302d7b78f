/** The laws that every kind obeys. Further promises are in each kind's own test. */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fold, histories, type Authored } from "./history.fixture.ts";
import { jsonBytes, type Json } from "./json.ts";
import { expire, KIND_NAMES, type Kind, type KindName } from "./kind.ts";
import { payloads } from "./payload.fixture.ts";
import { resumeOf } from "./progress.ts";
import { parsePayload, STATES } from "./protocol.ts";
import { KINDS } from "./registry.ts";
import { text } from "./text.ts";

interface Promises<State> {
  /** The part of a state that does not depend on arrival order; by default what is shown. */
  readonly settled?: (state: State) => unknown;
  /** Whether a repeated op leaves the view unchanged, even without the protocol's seq. */
  readonly repeatable: boolean;
}

const laws: { readonly [Name in KindName]: () => void } = {
  REGISTER: () => keep(KINDS.REGISTER, payloads.REGISTER, { settled: ({ standing }) => standing, repeatable: true }),
  MAX: () => keep(KINDS.MAX, payloads.MAX, { settled: (state) => state, repeatable: true }),
  MIN: () => keep(KINDS.MIN, payloads.MIN, { settled: (state) => state, repeatable: true }),
  COUNTER: () => keep(KINDS.COUNTER, payloads.COUNTER, { repeatable: false }),
  SET: () => keep(KINDS.SET, payloads.SET, { repeatable: true }),
  MAP: () => keep(KINDS.MAP, payloads.MAP, { repeatable: true }),
  LIST: () => keep(KINDS.LIST, payloads.LIST, { repeatable: true }),
  PROGRESS: () =>
    keep(KINDS.PROGRESS, payloads.PROGRESS, {
      settled: (state) => [resumeOf(state), resumeOf(state, "FURTHEST"), resumeOf(state, "ASK")],
      repeatable: true,
    }),
  // The server decides which of two endings of a generation counts, and with it what they left behind.
  DRAFT: () =>
    keep(KINDS.DRAFT, payloads.DRAFT, {
      settled: (state) => [state.generation, KINDS.DRAFT.view({ ...state, copies: [] })?.fields],
      repeatable: true,
    }),
  TEXT: () => keep(text, payloads.TEXT, { repeatable: true }),
  OPAQUE: () => keep(KINDS.OPAQUE, payloads.OPAQUE, { settled: ({ standing }) => standing, repeatable: true }),
};

describe.each(KIND_NAMES)("%s", (name) => {
  laws[name]();
});

function keep<State, Payload extends object>(
  kind: Kind<State, Payload, unknown>,
  payloadOf: (choice: number, known: State, replica: number) => Payload,
  { settled = (state) => kind.view(state), repeatable }: Promises<State>,
): void {
  const { name } = kind;
  const history = histories(kind, payloadOf);
  // Each change of a text loads its document.
  const numRuns = name === "TEXT" ? 20 : 100;

  it("is known under its name", () => {
    expect(kind.name).toBe(name);
    expect(kind.view(kind.initial)).toBe(name === "COUNTER" ? 0 : undefined);
  });

  it("ends the same in whatever order the ops arrive that did not know of each other", () => {
    fc.assert(
      fc.property(history, ({ rounds, otherwise }) => {
        expect(settled(fold(kind, otherwise).state)).toEqual(settled(fold(kind, rounds.flat()).state));
      }),
      { numRuns: 5 * numRuns },
    );
  });

  it("neither changes what it is given nor depends on what JSON cannot say", () => {
    fc.assert(
      fc.property(history, ({ rounds }) => {
        let state = frozen(kind.initial);
        for (const [index, { payload, context }] of rounds.flat().entries()) {
          const next = kind.apply(state, frozen(payload), { ...context, rev: index + 1 });
          const travelled: unknown = JSON.parse(JSON.stringify(next.state));
          expect(travelled).toEqual(next.state);
          expect(STATES[name].parse(travelled)).toEqual(next.state);
          expect(parsePayload(name, JSON.parse(JSON.stringify(payload)))).toEqual({ success: true, payload });
          state = frozen(next.state);
        }
        expect(fold(kind, rounds.flat()).state).toEqual(state);
      }),
      { numRuns },
    );
  });

  it("returns the state it was given exactly when nothing changed", () => {
    fc.assert(
      fc.property(history, ({ rounds }) => {
        const ops = rounds.flat();
        const { applied } = fold(kind, ops);
        for (const [index, { outcome, state }] of applied.entries()) {
          const before = index === 0 ? kind.initial : applied[index - 1]?.state;
          const changed = JSON.stringify(state) !== JSON.stringify(before);
          expect(state === before).toBe(!changed);
          expect(changed ? ["APPLIED", "MERGED"] : ["MERGED", "NOOP", "SUPERSEDED"]).toContain(outcome);
        }
      }),
      { numRuns },
    );
  });

  it("shows the same when an op arrives twice in a row, unless it counts", () => {
    fc.assert(
      fc.property(history, ({ rounds }) => {
        const ops = rounds.flat();
        let state = kind.initial;
        for (const [index, { payload, context }] of ops.entries()) {
          const once = kind.apply(state, payload, { ...context, rev: index + 1 }).state;
          const twice = kind.apply(once, payload, { ...context, rev: index + 1 }).state;
          const same = JSON.stringify(settled(twice)) === JSON.stringify(settled(once));
          expect(same).toBe(repeatable || once === state);
          state = once;
        }
      }),
      { numRuns },
    );
  });

  it("forgets nothing by pruning that somebody could still ask for", () => {
    fc.assert(
      fc.property(history, ({ rounds }) => {
        const ops = rounds.flat();
        let state = kind.initial;
        for (const [index, { payload, context }] of ops.entries()) {
          state = kind.apply(state, payload, { ...context, rev: index + 1 }).state;
          const stableRev = Math.min(index + 1, ...ops.slice(index + 1).map((op) => op.context.baseRev));
          const pruned = kind.prune?.(state, stableRev) ?? state;
          expect(kind.view(pruned)).toEqual(kind.view(state));
          state = pruned;
        }
        expect(settled(state)).toEqual(settled(fold(kind, ops).state));
      }),
      { numRuns },
    );
  });

  it("joins two states that do not know of each other: the same either way round, and again", () => {
    const value = (state: State): unknown => [kind.view(state), joinedPart(state)];
    fc.assert(
      fc.property(history, history, (one, other) => {
        // Of other replicas, so that no two writes have the same stamp; texts of other authors must not share their ids.
        const ops = one.rounds.flat();
        const others = name === "TEXT" ? ops.slice(0, ops.length / 2) : other.rounds.flat().map(asOthers);
        const [left, right] = [ops, others].map((each) => frozen(fold(kind, each).state));
        if (left === undefined || right === undefined) throw new Error("two states");
        const joined = kind.join(left, right);
        expect(STATES[name].parse(JSON.parse(JSON.stringify(joined)))).toEqual(joined);
        expect(value(kind.join(right, left))).toEqual(value(joined));
        expect(kind.join(joined, right)).toBe(joined);
        expect(kind.join(joined, left)).toBe(joined);
        expect(kind.join(left, left)).toBe(left);
        expect(kind.view(kind.join(kind.initial, left))).toEqual(kind.view(left));
      }),
      { numRuns },
    );
  });

  it("shows the same in another order of commits", () => {
    fc.assert(
      fc.property(history, ({ rounds }) => {
        const { state } = fold(kind, rounds.flat());
        const rebased = kind.rebase?.(state, 1_000) ?? state;
        expect(settled(rebased)).toEqual(settled(JSON.parse(JSON.stringify(rebased))));
        expect(kind.view(rebased)).toEqual(kind.view(state));
        expect(revsIn(rebased)).toEqual(revsIn(state).map((rev) => rev + 1_000));
      }),
      { numRuns },
    );
  });

  it("shows nothing once its time is up, remembers no value, and has nothing more to lose", () => {
    fc.assert(
      fc.property(history, ({ rounds }) => {
        const { state } = fold(kind, rounds.flat());
        const left = expire(kind, state);
        expect(STATES[name].parse(left)).toEqual(left);
        expect(kind.view(left)).toEqual(kind.view(kind.initial));
        expect(expire(kind, left)).toEqual(left);
        expect(valuesIn(left)).toEqual([]);
      }),
      { numRuns },
    );
  });

  it("stays within its bound, whatever is thrown at it", () => {
    let state = kind.initial;
    for (let round = 1; round <= 12; round += 1) {
      for (let step = round * 20; step < round * 20 + 20; step += 1) {
        const { payload, context } = heavy(step, payloadOf(step * 7919, state, step % 50));
        const op = parsePayload(name, payload);
        expect(op.success).toBe(true);
        ({ state } = kind.apply(state, payload, { ...context, rev: step }));
      }
      expect(bytesOf(state)).toBeLessThanOrEqual(kind.maxStateBytes);
    }
  });
}

/** What a join also settles besides the view. */
function joinedPart(state: unknown): unknown {
  return typeof state === "object" && state !== null && "generation" in state ? state.generation : undefined;
}

/** The same op by another person's replica. */
function asOthers<Payload>(op: Authored<Payload>): Authored<Payload> {
  const { context } = op;
  const stamp = { ...context.stamp, clientId: context.stamp.clientId.replace(/^a/, "b") };
  return { ...op, context: { ...context, stamp, deviceId: context.deviceId.replace(/^d/, "e") } };
}

/** Every revision that a state names. */
function revsIn(state: unknown): number[] {
  if (typeof state !== "object" || state === null) return [];
  return Object.entries(state).flatMap(([name, part]: [string, unknown]) =>
    (name === "rev" || name === "baseRev") && typeof part === "number" ? [part] : revsIn(part),
  );
}

/** Payloads as large as allowed, from many devices unaware of each other. */
function heavy<Payload extends object>(step: number, payload: Payload): Pick<Authored<Payload>, "payload" | "context"> {
  const grown = { ...payload };
  for (const [key, value] of Object.entries(grown)) {
    if (["element", "name", "id"].includes(key) && step % 2 === 0)
      Object.assign(grown, { [key]: `${step} `.padEnd(256, "é") });
    if (key === "value" && typeof value !== "number" && !isSealed(value))
      Object.assign(grown, { [key]: `${step} `.padEnd(60_000, "x") });
  }
  const clientId = `a0000000-0000-4000-8000-${String(step).padStart(12, "0")}`;
  const deviceId = `d0000000-0000-4000-8000-${String(step % 50).padStart(12, "0")}`;
  const context = { stamp: { ms: step, counter: 65_535, clientId }, seen: null, deviceId, baseRev: 0 };
  return { payload: grown, context };
}

/** All written content: everything in a state that is not the kind's bookkeeping. */
function valuesIn(state: unknown): unknown[] {
  if (typeof state !== "object" || state === null) return [];
  return Object.entries(state).flatMap(([name, part]: [string, unknown]) => {
    if (["standing", "generation", "epoch", "stamp", "deleted"].includes(name)) return valuesIn(part);
    const isNothing = part === null || part === 0 || (Array.isArray(part) && part.length === 0);
    return name === "ms" || name === "counter" || name === "clientId" || isNothing ? [] : [part];
  });
}

function isSealed(value: unknown): boolean {
  return typeof value === "object" && value !== null && "ciphertext" in value;
}

function bytesOf(state: unknown): number {
  const json: Json = JSON.parse(JSON.stringify(state));
  return jsonBytes(json);
}

function frozen<Value>(value: Value): Value {
  if (typeof value === "object" && value !== null) {
    for (const member of Object.values(value)) frozen(member);
    Object.freeze(value);
  }
  return value;
}
