/** The limits of the cache: it holds nothing for long, and no more bytes than it counts. */
import { randomUUID } from "node:crypto";
import type { Json } from "@continuo/merge";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { ValidatedOp } from "./op.ts";
import type { Change, Settlement } from "./push.ts";
import { createStandingMemory } from "./standing-memory.store.ts";
import type { Standing } from "./standing.store.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const NAME = { namespace: "kept", key: "note", field: "body" };
const USER = { userId: randomUUID(), deviceId: randomUUID() };
const PHONE = randomUUID();
const USAGE = { entries: 1, bytes: 100, namespaces: {} };

/** One replica after the other pushes a text, each upon what the one before it left. */
function createPerson(now: () => number) {
  const memory = createStandingMemory(now);
  const seqs = new Map<string, number>();
  let rev = 0;
  const pushOf = (clientId: string) => {
    const op = { ...NAME, seq: (seqs.get(clientId) ?? 0) + 1, baseRev: 0, schemaVersion: 1, seen: null };
    const validated: ValidatedOp = {
      op: { ...op, payload: null, stamp: { ms: 1, counter: 0 } },
      fault: { reason: "VALUE_INVALID", message: "" },
      isStored: true,
    };
    return { clientId, epoch: "", clientNow: 1, baseRev: 0, ops: [validated] };
  };
  return {
    recall: (clientId = PHONE) => memory.recall({ userId: USER.userId, push: pushOf(clientId) }),
    push(state: Json, clientId = PHONE) {
      const push = pushOf(clientId);
      const head = { epoch: "", rev, prunedRev: 0, clientsPrunedBefore: null, erased: {}, serverNow: 1, usage: USAGE };
      const met: Standing = {
        before: { ...head, client: undefined, siblings: 0, units: new Map(), answers: new Map() },
        version: `${rev}`,
        soonestExpiry: null,
      };
      rev += 1;
      seqs.set(clientId, (seqs.get(clientId) ?? 0) + 1);
      const change: Change = {
        ...NAME,
        kind: "TEXT",
        state,
        rev,
        schemaVersion: 1,
        bytes: 100,
        removedMs: null,
        deleted: false,
        ms: 1,
        expiresAt: null,
        appended: null,
      };
      const made: Settlement = {
        outcomes: [],
        lastSeq: seqs.get(clientId) ?? 0,
        rev,
        serverNow: 1,
        stop: null,
        faults: [],
        changes: [change],
        relayed: [],
        answers: [],
        usage: USAGE,
        quotaRemaining: USAGE,
      };
      memory.keep({ ...USER, push }, met, made, { version: `${rev}`, serverNow: 1 });
    },
  };
}

const TEXT = { generation: 0, document: null, updates: [] };

it("is gone after a minute, also if nobody asks for it", () => {
  let now = 1;
  const person = createPerson(() => now);
  person.push(TEXT);
  person.push(TEXT);
  now = 62_000;
  vi.advanceTimersByTime(61_000);
  // Even by a clock that was set back.
  now = 1;
  expect(person.recall()).toBeUndefined();
});

it("is not the state that was settled, on which the loaded document of a text hangs", () => {
  const person = createPerson(() => 0);
  person.push(TEXT);
  person.push(TEXT);
  const first = person.recall()?.before.units.values().next().value?.state;
  expect(first).toEqual(TEXT);
  expect(first).not.toBe(TEXT);
  person.push(TEXT);
  person.push(TEXT);
  const second = person.recall()?.before.units.values().next().value?.state;
  expect(second).toEqual(TEXT);
  expect(second).not.toBe(first);
});

it("is no more replicas than are counted, however many there are", () => {
  const person = createPerson(() => 1);
  person.push(TEXT);
  for (let count = 0; count < 5_000; count += 1) person.push(TEXT, randomUUID());
  expect(person.recall()).toBeUndefined();
});
