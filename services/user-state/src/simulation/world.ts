/**
 * A person with several devices, a server and a bad network, in virtual time: everything that happens follows from a seed.
 * The devices run `@continuo/replica`, the server its real use cases over a store in memory; nothing else is here but
 * chance, faults, and the truth to hold them against (`oracle.ts`).
 */
import type { Viewer } from "@continuo/access";
import { isAppError } from "@continuo/errors";
import { KINDS, type KindName } from "@continuo/merge";
import { PushRequest, PushResponse, StateBatch, type PullRequest } from "@continuo/merge/protocol";
import { defineNamespace } from "@continuo/namespace";
import { change, createReplica, forgotten, pull, push, receive, settle, shiftClock } from "@continuo/replica";
import type { Replica, Unit } from "@continuo/replica";
import { createEntries, type Entries } from "../entry/entry.ts";
import { DEFAULT_QUOTA } from "../entry/quota.ts";
import { unitId } from "../entry/settle.ts";
import { viewOf } from "../entry/unit.ts";
import { namespaceOf, type Namespaces } from "../namespace/namespace.ts";
import { createRetention } from "../retention/retention.ts";
import { createCursors } from "../stream/cursor.ts";
import { createStream, type Stream } from "../stream/stream.ts";
import type { Defect } from "./defects.ts";
import { createMemory, USER, type Stored } from "./memory.ts";
import { createOracle } from "./oracle.ts";
import { createRandom } from "./random.ts";

export interface Options {
  readonly seed: number;
  /** How many things happen before the network heals and all comes to rest. */
  readonly steps: number;
  readonly defect?: Defect | undefined;
}

/** What a run did, the same for the same options. */
export interface Report {
  readonly changes: number;
  readonly settled: number;
  readonly refused: number;
  readonly lost: number;
  readonly doubled: number;
  readonly restores: number;
  /** Of all that happened, in order. */
  readonly digest: string;
}

interface Device {
  readonly id: string;
  replica: Replica;
  /** How far its clock is from the truth. Milliseconds. */
  skew: number;
  isOffline: boolean;
  /** Where the server has got to in telling it what changes; null: it is not listening. */
  streamAt: string | null;
}

interface Message {
  readonly device: Device;
  readonly sentAt: number;
  deliver(): Promise<void>;
}

const START = Date.UTC(2026, 0, 1);
const DEVICES = 4;
const DAY_MS = 24 * 3_600_000;
/** A request that is under way for longer is given up. */
const TIMEOUT_MS = 2_000;
const LONGEST_STEP_MS = 400;
const LOST_REQUESTS = 0.2;
const LOST_ANSWERS = 0.25;
const DOUBLED = 0.05;
const REFUSED = 0.05;
const UNAUTHENTICATED = 0.03;

const FIELDS = {
  title: "REGISTER",
  plays: "COUNTER",
  furthest: "MAX",
  tags: "SET",
  queue: "LIST",
  position: "PROGRESS",
  note: "DRAFT",
  info: "MAP",
} as const satisfies Record<string, KindName>;
const NAMESPACE = namespaceOf([
  {
    revision: 1,
    definition: defineNamespace({
      name: "life",
      version: 1,
      fields: Object.fromEntries(Object.entries(FIELDS).map(([name, kind]) => [name, { kind, schema: {} }])),
    }),
  },
]);
const KEYS = ["a", "b"];

/** Runs a world to its end. Throws a Violation when a promise was broken on the way. */
export async function simulate({ seed, steps, defect }: Options): Promise<Report> {
  const random = createRandom(seed);
  const counts = { changes: 0, settled: 0, refused: 0, lost: 0, doubled: 0, restores: 0 };
  let digest = 0;
  let now = START;
  let under: Message[] = [];
  let backup: { readonly stored: Stored; readonly mark: number } | undefined;
  const isOld = random.chance(0.25);
  const isRestored = random.chance(0.2);

  const memory = createMemory(random.uuid(), () => now);
  const oracle = createOracle({ now: () => now, kinds: FIELDS, travelMs: TIMEOUT_MS + LONGEST_STEP_MS });
  const namespaces: Namespaces = {
    all: async () => [NAMESPACE],
    find: async () => new Map([[NAMESPACE.name, NAMESPACE]]),
  };
  const newEpoch = (): string => random.uuid();
  const entries: Entries = createEntries({
    store: entriesOf(),
    namespaces,
    quota: DEFAULT_QUOTA,
    newEpoch,
    changed: () => undefined,
  });
  const stream: Stream = createStream({
    store: memory.stream,
    namespaces,
    cursors: createCursors(Buffer.alloc(32, 7)),
    newEpoch,
  });
  const retain = createRetention({ store: memory.retention, now: () => new Date(now) });
  const devices = Array.from({ length: DEVICES }, (): Device => {
    const id = random.uuid();
    return {
      id,
      replica: createReplica({ clientId: random.uuid(), deviceId: id }),
      skew: Math.round((random.next() * 2 - 1) * 2 * DAY_MS),
      isOffline: false,
      streamAt: null,
    };
  });

  const note = (what: string): void => {
    for (const character of what) digest = (Math.imul(digest, 31) + character.charCodeAt(0)) >>> 0;
  };
  const clockOf = ({ skew }: Device): number => now + skew;

  /** The server's store, with what may be wrong with it. */
  function entriesOf(): typeof memory.entries {
    if (defect === "NO_DEDUPE")
      return {
        settle: (request, decide) =>
          memory.entries.settle(request, (before) => {
            const first = request.push.ops[0]?.op.seq ?? 1;
            return decide({ ...before, client: { deviceId: request.deviceId, lastSeq: first - 1 } });
          }),
      };
    if (defect === "CLAMP_MISSING")
      return {
        settle: (request, decide) =>
          memory.entries.settle(request, (before) => decide({ ...before, serverNow: before.serverNow + 5 * DAY_MS })),
      };
    return memory.entries;
  }

  /** What the server makes of a push; undefined when the answer never comes to be. */
  async function serve(device: Device, request: PushRequest): Promise<PushResponse> {
    const asked = PushRequest.parse(JSON.parse(JSON.stringify(request)));
    const taken = asked.ops.map((op) => {
      if (defect === "REMOVE_IGNORES_BASE") return { ...op, baseRev: Number.MAX_SAFE_INTEGER };
      if (defect === "NO_DRAFT_FENCE" && op.field === "note") return intoGeneration(op, memory.stored());
      return op;
    });
    const clientNow = defect === "SKEW_NOT_REPAIRED" ? now : asked.clientNow;
    const before = memory.stored();
    const receipt = await entries.push(viewerOn(device), { ...asked, ops: taken, clientNow });
    if (defect === "ACK_BEFORE_COMMIT" && random.chance(0.1)) memory.restore(before);
    const outcomes = receipt.outcomes.map(({ standing, first, reason, message, ...outcome }) => ({
      ...outcome,
      ...(reason !== null && { reason, message: message ?? "" }),
      ...(outcome.status === "DUPLICATE" && {
        first: first && { ...first, reason: first.fault?.reason, message: first.fault?.message },
      }),
      current: (standing && viewOf(standing)) ?? null,
      losers: outcome.losers.map((loser) => ({ ...loser })),
    }));
    oracle.committed({ request: asked, receipt });
    return PushResponse.parse(JSON.parse(JSON.stringify({ ...receipt, outcomes, retryAfterMs: null })));
  }

  async function read(device: Device, request: PullRequest): Promise<StateBatch> {
    const batch = await stream.pull(viewerOn(device), {
      since: request.since ?? undefined,
      namespaces: undefined,
      clientId: request.clientId ?? undefined,
      first: request.first,
    });
    const shown = batch.entries.map((entry) => ({ ...entry, value: viewOf(entry) ?? null }));
    const hidden = defect === "CURSOR_FROM_SEQUENCE" && shown.length > 1 && random.chance(0.2) ? shown.slice(1) : shown;
    return StateBatch.parse(JSON.parse(JSON.stringify({ ...batch, entries: hidden })));
  }

  /** Sends `ask` on its way; the answer takes another one. Each may be lost, late, or come twice. */
  function send<Answer>(device: Device, ask: () => Promise<Answer>, answer: (answer: Answer) => void): void {
    const deliver = async (): Promise<void> => {
      const given = await ask();
      const back = async (): Promise<void> => answer(given);
      post(device, back, LOST_ANSWERS);
    };
    post(device, deliver, LOST_REQUESTS);
    if (random.chance(DOUBLED)) {
      counts.doubled += 1;
      post(device, deliver, LOST_REQUESTS);
    }
  }

  function post(device: Device, deliver: () => Promise<void>, loss: number): void {
    if (isHealed || !random.chance(loss)) under.push({ device, sentAt: now, deliver });
    else counts.lost += 1;
  }

  function startOver(device: Device, clientId: string, prunedBefore: number | null): void {
    if (device.replica.clientId !== clientId) return;
    const isCounter = ({ field }: Unit): boolean => field === "plays";
    device.replica = forgotten(device.replica, {
      clientId: random.uuid(),
      now: clockOf(device),
      prunedBefore,
      isCounter,
    });
    device.streamAt = null;
  }

  function sendPush(device: Device): void {
    const made = push(device.replica, clockOf(device));
    if (made === null) return;
    device.replica = made.replica;
    const { clientId } = made.request;
    const request =
      defect === "STAMP_REREAD_AT_REPLAY"
        ? {
            ...made.request,
            ops: made.request.ops.map((op) => ({ ...op, stamp: { ...op.stamp, ms: clockOf(device) } })),
          }
        : made.request;
    const ask = async (): Promise<PushResponse | string | { prunedBefore: number | null }> => {
      if (!isHealed && random.chance(UNAUTHENTICATED)) return "UNAUTHENTICATED";
      try {
        return await serve(device, request);
      } catch (cause) {
        if (!isAppError(cause) || cause.code !== "CONFLICT") throw cause;
        if (cause.reason !== "CLIENT_UNKNOWN") return cause.reason;
        const pruned = cause.details?.["clientsPrunedBefore"];
        return { prunedBefore: pruned instanceof Date ? pruned.getTime() : null };
      }
    };
    send(device, ask, (answer) => {
      if (answer === "UNAUTHENTICATED" && defect === "UNAUTHENTICATED_IS_REFUSAL") dropSent(device);
      if (typeof answer === "string") return;
      if ("prunedBefore" in answer) startOver(device, clientId, answer.prunedBefore);
      else {
        settleOn(device, request, answer);
        if (answer.stop === "GAP") startOver(device, clientId, null);
      }
    });
  }

  function settleOn(device: Device, request: PushRequest, answer: PushResponse): void {
    const isRefusal = (outcome: PushResponse["outcomes"][number]): boolean =>
      outcome.status === "REJECTED" || (outcome.status === "DUPLICATE" && outcome.first?.status === "REJECTED");
    const poisoned = answer.outcomes.findIndex(isRefusal);
    const heard =
      defect === "POISON_BLOCKS" && poisoned >= 0
        ? { ...answer, outcomes: answer.outcomes.slice(0, poisoned) }
        : answer;
    const before = device.replica;
    device.replica = settle(before, request, heard, clockOf(device));
    counts.refused += device.replica.rejected.length - before.rejected.length;
    counts.settled += answer.outcomes.length;
  }

  function dropSent(device: Device): void {
    device.replica = {
      ...device.replica,
      queue: device.replica.queue.filter(({ seq, settledRev }) => seq === null || settledRev !== null),
    };
  }

  function sendPull(device: Device): void {
    const request = pull(device.replica, { first: random.pick([1, 2, 500]) });
    send(
      device,
      () => read(device, request),
      (batch) => take(device, request, batch),
    );
  }

  function take(device: Device, request: Pick<PullRequest, "since" | "clientId">, batch: StateBatch): void {
    const before = device.replica;
    device.replica = receive(before, request, batch, clockOf(device));
    oracle.shown(before, device.replica);
    device.streamAt ??= device.replica.cursor;
  }

  /** The server tells a listening device what has changed since it told it last. */
  function tell(device: Device): void {
    const { streamAt } = device;
    if (streamAt === null) return;
    const { clientId } = device.replica;
    send(
      device,
      async () => {
        const batch = await read(device, { ...pull(device.replica), since: streamAt, clientId, first: 500 });
        device.streamAt = batch.to;
        return batch;
      },
      (batch) => {
        const place = pull(device.replica).since;
        if (defect === "BATCH_OVER_A_GAP" && batch.reset === null)
          take(device, { since: place, clientId }, { ...batch, from: place });
        else take(device, { since: batch.from, clientId }, batch);
      },
    );
  }

  function act(device: Device, where: { readonly key?: string; readonly field?: string } = {}): void {
    const made = oracle.invent(random, device.replica, {
      key: random.pick(KEYS),
      isPoison: random.chance(REFUSED),
      ...where,
    });
    oracle.made(made);
    const asked = { ...made, namespace: NAMESPACE.name, schemaVersion: 1 };
    device.replica = change(device.replica, asked, { now: clockOf(device), kinds: KINDS });
    counts.changes += 1;
  }

  let isHealed = false;

  async function step(): Promise<void> {
    const device = random.pick(devices);
    const roll = random.below(100);
    if (roll < 25) act(device);
    else if (roll < 40 && !device.isOffline) sendPush(device);
    else if (roll < 50 && !device.isOffline) sendPull(device);
    else if (roll < 58 && !device.isOffline) tell(device);
    else if (roll < 92) await deliverOne();
    else if (roll < 95) device.isOffline = !device.isOffline;
    else if (roll < 96) jumpClock(device);
    else if (roll < 97 && isOld)
      await (random.chance(0.5) ? pass(random.pick([1, 30, 100, 200]) * DAY_MS) : absence(device));
    else if (roll < 98 && isRestored) backUpOrRestore();
    now += random.below(LONGEST_STEP_MS);
    under = under.filter(({ sentAt }) => now - sentAt <= TIMEOUT_MS);
    oracle.check(memory.stored());
    note(`${roll} ${device.replica.queue.length} ${memory.stored().head.rev};`);
  }

  async function deliverOne(): Promise<void> {
    if (under.length === 0) return;
    const [message] = under.splice(random.below(under.length), 1);
    if (message !== undefined && (isHealed || !message.device.isOffline)) await message.deliver();
  }

  /** Somebody sets the clock, and the device notices. */
  function jumpClock(device: Device): void {
    const jump = Math.round((random.next() * 2 - 1) * 3_600_000);
    device.skew += jump;
    device.replica = shiftClock(device.replica, jump);
  }

  async function pass(ms: number): Promise<void> {
    now += ms;
    under = [];
    const { prunedRev } = memory.stored().head;
    await retain(new AbortController().signal);
    if (defect === "GC_WITHOUT_FENCE") {
      const stored = memory.stored();
      memory.restore({ ...stored, head: { ...stored.head, prunedRev } });
    }
  }

  /** A device changes something and lies in a drawer for months, while the others go on. */
  async function absence(absent: Device): Promise<void> {
    const where = { key: "a", field: random.pick(["title", "title", "info", "note"]) };
    absent.isOffline = true;
    act(absent, where);
    for (const months of [1, 3, 3]) {
      for (const device of devices.filter((each) => each !== absent)) {
        device.isOffline = false;
        act(device, where);
        for (let tries = 0; tries < 3; tries += 1) {
          sendPush(device);
          sendPull(device);
          while (under.length > 0) await deliverOne();
        }
      }
      await pass(months * 31 * DAY_MS);
    }
    absent.isOffline = false;
  }

  function backUpOrRestore(): void {
    if (backup === undefined) {
      backup = { stored: memory.stored(), mark: oracle.mark() };
      return;
    }
    const { head } = backup.stored;
    const epoch = defect === "RESET_TOKEN_REUSED" ? head.epoch : random.uuid();
    memory.restore({ ...backup.stored, head: { ...head, epoch } });
    oracle.restored(backup.mark);
    for (const device of devices) device.streamAt = null;
    backup = undefined;
    counts.restores += 1;
  }

  for (let taken = 0; taken < steps; taken += 1) await step();

  isHealed = true;
  for (const device of devices) device.isOffline = false;
  for (let round = 0; round < 60; round += 1) {
    for (const device of devices) {
      sendPush(device);
      sendPull(device);
      while (under.length > 0) await deliverOne();
    }
    now += 100;
  }
  const fresh: Device = {
    id: random.uuid(),
    replica: createReplica({ clientId: random.uuid(), deviceId: random.uuid() }),
    skew: 0,
    isOffline: false,
    streamAt: null,
  };
  for (let round = 0; round < 400 && (round === 0 || fresh.replica.staged !== null); round += 1) {
    sendPull(fresh);
    while (under.length > 0) await deliverOne();
  }
  oracle.end(
    memory.stored(),
    [...devices, fresh].map(({ replica }) => replica),
  );
  return { ...counts, digest: digest.toString(16) };
}

function viewerOn({ id }: Device): Viewer {
  return { userId: USER, deviceId: id, sessionId: id, applicationId: "simulation", acr: "aal1", amr: [], authTime: 0 };
}

/** A late edit of a draft, as a server without a fence takes it. */
function intoGeneration<Op extends Unit & { payload: unknown }>(op: Op, { units }: Stored): Op {
  const { payload } = op;
  const unit = units.get(unitId(op));
  const state: unknown = unit?.state;
  const isEdit = typeof payload === "object" && payload !== null && "type" in payload && payload.type === "EDIT";
  if (!isEdit || typeof state !== "object" || state === null || !("generation" in state)) return op;
  return { ...op, payload: { ...payload, generation: state.generation } };
}
