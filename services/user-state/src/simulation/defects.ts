/**
 * Known mistakes of sync engines, each of which can be switched on alone: a simulation that does not detect them
 * detects nothing. Defects of merging itself are covered by the laws in `@continuo/merge`.
 */
import type { KindName } from "@continuo/merge";
import type { OpMessage, PushRequest, PushResponse } from "@continuo/merge/protocol";
import type { EntryStore } from "../entry/entry.ts";
import type { Change } from "../entry/push.ts";
import { isShown, unitId, type Unit } from "../entry/unit.ts";
import type { StreamStore } from "../stream/stream.ts";
import type { Memory, Stored } from "./memory.ts";
import type { Random } from "./random.ts";

export const DEFECTS = [
  /** The server takes a repeated op for a new one. */
  "NO_DEDUPE",
  /** A rejected op is retried until it passes, and blocks everything behind it. */
  "POISON_BLOCKS",
  /** Stamps are used as the device's clock gave them. */
  "SKEW_NOT_REPAIRED",
  /** A change gets a new stamp each time it is sent. */
  "STAMP_REREAD_AT_REPLAY",
  /** Clocks ahead of the server's are believed. */
  "CLAMP_MISSING",
  /** A removal takes away additions its author had never seen. */
  "REMOVE_IGNORES_BASE",
  /** A device cannot remove its own addition before it has read it back. */
  "OWN_WRITES_UNKNOWN",
  /** A late autosave is applied to the current generation, whichever that is. */
  "NO_DRAFT_FENCE",
  /** Actions under a lost lease count as if the device still held it. */
  "STALE_HOLDER_MOVES_RESUME",
  /** A stream message is applied although one before it was lost. */
  "BATCH_OVER_A_GAP",
  /** Deletions are forgotten without a fence. */
  "GC_WITHOUT_FENCE",
  /** A reader misses changes that commit late. */
  "CURSOR_FROM_SEQUENCE",
  /** Changes are acknowledged and may still be lost. */
  "ACK_BEFORE_COMMIT",
  /** A restored database keeps its old epoch. */
  "RESET_TOKEN_REUSED",
  /** Expired units are read until something has cleaned them up. */
  "DEADLINE_UNREAD",
  /** An offline device keeps showing expired units. */
  "DEADLINE_UNHEARD",
  /** Expiry leaves no tombstone, so older writes come back. */
  "EXPIRY_WITHOUT_TOMBSTONE",
  /** Devices do not learn of an erasure. */
  "ERASURE_WITHOUT_EPOCH",
  /** Changes that waited on a device during an erasure are accepted afterwards. */
  "ERASURE_WITHOUT_FENCE",
  /** A signed-out device treats what it sent as rejected. */
  "UNAUTHENTICATED_IS_REFUSAL",
  /** Accepted changes are answered as rejected. */
  "TAKEN_IS_REFUSED",
  /** Of two concurrent pushes the later overwrites the earlier: the head row is not locked. One defect per kind. */
  "COUNT_LOST",
  "LARGEST_LOST",
  "ELEMENT_LOST",
  "WORD_LOST",
  /** Where nobody has acted yet, a merely reporting device moves the resume point. */
  "REPORT_MOVES_RESUME",
  /** Units of the TTL namespace expire too early. */
  "DEADLINE_TOO_EARLY",
  /** A count after a counter expired is added to its former value. */
  "COUNT_GOES_ON",
  /** Deleted units keep counting towards the quota. */
  "QUOTA_NOT_GIVEN_BACK",
  /** Erased state reappears. */
  "ERASURE_UNDONE",
] as const;
export type Defect = (typeof DEFECTS)[number];

/** The kind whose changes are lost. */
const LOST: Readonly<Partial<Record<Defect, KindName>>> = {
  COUNT_LOST: "COUNTER",
  LARGEST_LOST: "MAX",
  ELEMENT_LOST: "LIST",
  WORD_LOST: "TEXT",
};

const DAY_MS = 24 * 3_600_000;

/** The server's entry store, with the defect. */
export function brokenStore(store: EntryStore, defect: Defect | undefined): EntryStore {
  if (defect === "NO_DEDUPE")
    return {
      ...store,
      settle: (request, decide) =>
        store.settle(request, (before) => {
          const first = request.push.ops[0]?.op.seq ?? 1;
          return decide({ ...before, client: { deviceId: request.deviceId, lastSeq: first - 1 } });
        }),
    };
  if (defect === "CLAMP_MISSING")
    return {
      ...store,
      settle: (request, decide) =>
        store.settle(request, (before) => decide({ ...before, serverNow: before.serverNow + 5 * DAY_MS })),
    };
  if (defect === "OWN_WRITES_UNKNOWN")
    return {
      ...store,
      settle: (request, decide) =>
        store.settle(request, (before) => {
          const { clientId } = request.push;
          const units = [...before.units].map(([id, unit]) => [id, renamed(unit, clientId, STRANGER)] as const);
          const settlement = decide({ ...before, units: new Map(units) });
          return { ...settlement, changes: settlement.changes.map((each) => renamed(each, STRANGER, clientId)) };
        }),
    };
  if (defect === "ERASURE_WITHOUT_FENCE")
    return {
      ...store,
      settle: (request, decide) => store.settle(request, (before) => decide({ ...before, erased: {} })),
    };
  if (defect === "EXPIRY_WITHOUT_TOMBSTONE")
    return {
      ...store,
      settle: (request, decide) =>
        store.settle(request, (before) => {
          const isLeft = ([id, unit]: readonly [string, Unit]): boolean => !id.includes('"brief"') || isShown(unit);
          return decide({ ...before, units: new Map([...before.units].filter(isLeft)) });
        }),
    };
  if (defect === "DEADLINE_TOO_EARLY" || defect === "QUOTA_NOT_GIVEN_BACK")
    return {
      ...store,
      settle: (request, decide) =>
        store.settle(request, (before) => {
          const { changes, usage, ...settlement } = decide(before);
          const early = (change: Change): Change => ({
            ...change,
            expiresAt: change.expiresAt && before.serverNow + 1,
          });
          return defect === "DEADLINE_TOO_EARLY"
            ? { ...settlement, usage, changes: changes.map(early) }
            : { ...settlement, changes, usage: { ...usage, bytes: Math.max(usage.bytes, before.usage.bytes) } };
        }),
    };
  const lost = defect && LOST[defect];
  if (lost !== undefined || defect === "COUNT_GOES_ON") {
    let earlier: ReadonlyMap<string, Unit> = new Map();
    return {
      ...store,
      settle: (request, decide) =>
        store.settle(request, (before) => {
          const { units } = before;
          const isMet = ([id, { kind }]: readonly [string, Unit]): boolean =>
            kind === (lost ?? "COUNTER") && id.includes('"brief"') === (lost === undefined);
          const former = [...earlier].filter(isMet);
          earlier = lost === undefined ? new Map([...former, ...units]) : units;
          const others = [...units].filter((unit) => lost === undefined || !isMet(unit));
          return decide({ ...before, units: new Map([...former, ...others]) });
        }),
    };
  }
  return store;
}

/** The server's pages, with the defect. */
export function brokenPages({ stream, stored }: Memory, defect: Defect | undefined): StreamStore {
  if (defect !== "DEADLINE_UNREAD") return stream;
  return {
    ...stream,
    async read(request) {
      const page = await stream.read(request);
      return { ...page, entries: page.entries.map((entry) => ({ ...entry, ...stored().units.get(unitId(entry)) })) };
    },
  };
}

/** A client that no device has. */
const STRANGER = "00000000-0000-4000-8000-000000000000";

/** The unit with one replica's writes attributed to another. */
function renamed<Renamed extends Unit>(unit: Renamed, from: string, to: string): Renamed {
  return { ...unit, state: JSON.parse(JSON.stringify(unit.state).replaceAll(from, to)) };
}

/** The push as the defective server reads it; `stored` is what it meets, `now` the true time. */
export function brokenRequest(
  request: PushRequest,
  { defect, stored, now }: { defect: Defect | undefined; stored: Stored; now: () => number },
): PushRequest {
  const { units } = stored;
  if (defect === "SKEW_NOT_REPAIRED") return { ...request, clientNow: now() };
  if (defect === "REMOVE_IGNORES_BASE")
    return { ...request, ops: request.ops.map((op) => ({ ...op, baseRev: Number.MAX_SAFE_INTEGER })) };
  if (defect === "STALE_HOLDER_MOVES_RESUME")
    return { ...request, ops: request.ops.map((op) => ({ ...op, payload: withoutFence(op.payload) })) };
  if (defect === "REPORT_MOVES_RESUME")
    return { ...request, ops: request.ops.map((op) => (units.has(unitId(op)) ? op : asIntended(op))) };
  if (defect === "NO_DRAFT_FENCE")
    return { ...request, ops: request.ops.map((op) => (op.field === "note" ? intoGeneration(op, stored) : op)) };
  return request;
}

function asIntended(op: OpMessage): OpMessage {
  const { payload } = op;
  const isReport =
    typeof payload === "object" && payload !== null && "intent" in payload && payload.intent === "PASSIVE";
  return isReport ? { ...op, payload: { ...payload, intent: "PLAY" } } : op;
}

function withoutFence(payload: unknown): unknown {
  if (typeof payload !== "object" || payload === null || !("fence" in payload)) return payload;
  const { fence: _, ...rest } = payload;
  return rest;
}

/** A late edit of a draft, as a server without a fence accepts it. */
function intoGeneration(op: OpMessage, { units }: Stored): OpMessage {
  const { payload } = op;
  const state: unknown = units.get(unitId(op))?.state;
  const isEdit = typeof payload === "object" && payload !== null && "type" in payload && payload.type === "EDIT";
  if (!isEdit || typeof state !== "object" || state === null || !("generation" in state)) return op;
  return { ...op, payload: { ...payload, generation: state.generation } };
}

/** The batch that a reader receives, with the defect. */
export function brokenBatch<Batch extends { readonly entries: readonly unknown[] }>(
  batch: Batch,
  { defect, random }: { defect: Defect | undefined; random: Random },
): Batch {
  const isBroken = defect === "CURSOR_FROM_SEQUENCE" && batch.entries.length > 1 && random.chance(0.2);
  return isBroken ? { ...batch, entries: batch.entries.slice(1) } : batch;
}

/** The push that a device sends, with the defect; `clientNow` is the device's clock. */
export function brokenPush(request: PushRequest, defect: Defect | undefined): PushRequest {
  if (defect !== "STAMP_REREAD_AT_REPLAY") return request;
  const ms = request.clientNow;
  return { ...request, ops: request.ops.map((op) => ({ ...op, stamp: { ...op.stamp, ms } })) };
}

/** The answer that a device receives, with the defect. */
export function brokenAnswer(answer: PushResponse, defect: Defect | undefined): PushResponse {
  if (defect === "TAKEN_IS_REFUSED") {
    const fault = { status: "REJECTED", reason: "VALUE_INVALID", message: "No." } as const;
    const outcomes = answer.outcomes.map((outcome) =>
      outcome.status === "APPLIED" ? { ...outcome, ...fault } : outcome,
    );
    return { ...answer, outcomes };
  }
  const poisoned = answer.outcomes.findIndex(
    (outcome) =>
      outcome.status === "REJECTED" || (outcome.status === "DUPLICATE" && outcome.first?.status === "REJECTED"),
  );
  if (defect !== "POISON_BLOCKS" || poisoned < 0) return answer;
  return { ...answer, outcomes: answer.outcomes.slice(0, poisoned) };
}
