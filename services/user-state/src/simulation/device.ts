/** A device: its replica, its clock, and its dealings with a server over a network. */
import { isAppError } from "@continuo/errors";
import type { Json } from "@continuo/merge";
import type { PullRequest, PushRequest, PushResponse, StateBatch } from "@continuo/merge/protocol";
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
  type Unit,
} from "@continuo/replica";
import { brokenAnswer, brokenPush, type Defect } from "./defects.ts";
import { DEFINITION, FIELDS, KINDS, unitOf, type Field } from "./life.ts";
import type { Leases } from "./leases.ts";
import type { Network } from "./network.ts";
import type { Oracle } from "./oracle.ts";
import type { Random } from "./random.ts";
import type { Server } from "./server.ts";

export interface Device {
  readonly id: string;
  readonly replica: Replica;
  isOffline: boolean;
  /** The person changes something; `key` and `field` are random unless given. */
  act(where?: { readonly key?: string; readonly field?: Field }): void;
  push(): void;
  pull(): void;
  /** The person continues the film of `key` here. A device that loses its lease is not told. */
  takeOver(key: string): void;
  /** The person erases these namespaces, or everything. */
  erase(namespaces: readonly string[] | undefined): void;
  /** What the device shows of a field right now. */
  shows(key: string, field: Field): Json | undefined;
  /** Receives what changed since the last stream message, if the device is subscribed. */
  listen(): void;
  /** Ends the subscription on the server. */
  hangUp(): void;
  /** The device's clock is set, and the device notices. */
  setClock(byMs: number): void;
}

/** What a device interacts with. */
export interface Surroundings {
  readonly random: Random;
  /** The true time, milliseconds since the epoch. */
  readonly now: () => number;
  readonly server: Server;
  /** Undefined where nobody erases anything. */
  readonly erase?: ((namespaces: readonly string[] | undefined) => Promise<void>) | undefined;
  /** Undefined where nobody takes anything over. */
  readonly leases?: Leases | undefined;
  readonly network: Network;
  readonly oracle: Oracle;
  readonly defect: Defect | undefined;
  /** Incremented by the device. */
  readonly counts: { changes: number; settled: number; refused: number };
}

interface Refusal {
  readonly code: string;
  readonly reason: string;
  readonly details: Readonly<Record<string, unknown>> | undefined;
}

export const KEYS = ["a", "b"];
const COUNTERS = Object.entries(FIELDS).flatMap(([field, kind]) => (kind === "COUNTER" ? [field] : []));
const REFUSED = 0.05;

/** Creates a device whose clock is ahead of the true time by `skewOf()`; `id` is random unless given. */
export function createDevice(
  surroundings: Surroundings,
  skewOf: () => number,
  id: string = surroundings.random.uuid(),
): Device {
  const { random, now, server, erase, leases, network, oracle, defect, counts } = surroundings;
  let replica = createReplica({ clientId: random.uuid(), deviceId: id });
  let skewMs = skewOf();
  /** The cursor of the subscription; null: not subscribed. */
  let streamAt: string | null = null;
  /** The fences of the leases it was granted, by key. */
  const fences = new Map<string, number>();
  const clock = (): number => now() + skewMs;

  function startOver(clientId: string, prunedBefore: number | null): void {
    if (replica.clientId !== clientId) return;
    const isCounter = ({ field }: Unit): boolean => COUNTERS.includes(field);
    replica = forgotten(replica, { clientId: random.uuid(), now: clock(), prunedBefore, isCounter });
    streamAt = null;
  }

  function refused({ clientId }: PushRequest, { code, reason, details }: Refusal): void {
    if (code === "UNAUTHENTICATED" && defect === "UNAUTHENTICATED_IS_REFUSAL") dropSent();
    if (reason !== "CLIENT_UNKNOWN") return;
    const pruned = details?.["clientsPrunedBefore"];
    const isKnown = pruned instanceof Date || typeof pruned === "string";
    startOver(clientId, isKnown ? new Date(pruned).getTime() : null);
  }

  function dropSent(): void {
    replica = {
      ...replica,
      queue: replica.queue.filter(({ seq, settledRev }) => seq === null || settledRev !== null),
    };
  }

  function settled(request: PushRequest, answer: PushResponse): void {
    const before = replica.rejected.length;
    replica = settle(replica, request, brokenAnswer(answer, defect), clock());
    counts.refused += replica.rejected.length - before;
    counts.settled += answer.outcomes.length;
    if (answer.stop === "GAP") startOver(request.clientId, null);
  }

  function take(request: Pick<PullRequest, "since" | "clientId">, batch: StateBatch): void {
    const before = replica;
    replica = receive(before, request, batch, clock());
    oracle.shown(before, replica);
    streamAt ??= replica.cursor;
  }

  const device: Device = {
    id,
    get replica() {
      return replica;
    },
    isOffline: false,

    act(where = {}) {
      const key = random.pick(KEYS);
      const invented = oracle.invent(random, replica, { key, isPoison: random.chance(REFUSED), ...where });
      const fence = invented.kind === "PROGRESS" ? fences.get(invented.key) : undefined;
      const made = fence === undefined ? invented : { ...invented, payload: { ...invented.payload, fence } };
      oracle.made(made);
      const asked = { ...made, ...unitOf(made.key, made.field), schemaVersion: DEFINITION.version };
      replica = change(replica, asked, { now: clock(), kinds: KINDS });
      counts.changes += 1;
    },

    push() {
      const made = push(replica, clock());
      if (made === null) return;
      replica = made.replica;
      const request = brokenPush(made.request, defect);
      network.send(
        device,
        () => server.push(id, request).catch(refusalOf),
        (answer) => ("code" in answer ? refused(request, answer) : settled(request, answer)),
      );
    },

    pull() {
      const request = pull(replica, { first: random.pick([1, 2, 500]) });
      network.send(
        device,
        () => server.pull(id, request),
        (batch) => take(request, batch),
      );
    },

    takeOver(key) {
      if (leases === undefined) return;
      network.send(
        device,
        () => leases.takeOver(id, key),
        (fence) => fences.set(key, Math.max(fence, fences.get(key) ?? 0)),
      );
    },

    erase(namespaces) {
      if (erase === undefined) return;
      network.send(
        device,
        () => erase(namespaces),
        () => undefined,
      );
    },

    shows(key, field) {
      const by = defect === "DEADLINE_UNHEARD" ? undefined : clock();
      return show(replica, unitOf(key, field), FIELDS[field], KINDS, by).value;
    },

    listen() {
      const since = streamAt;
      if (since === null) return;
      const { clientId } = replica;
      const ask = async (): Promise<StateBatch> => {
        const batch = await server.pull(id, { ...pull(replica), since, clientId });
        streamAt = batch.to;
        return batch;
      };
      network.send(device, ask, (batch) => {
        const { since: place } = pull(replica);
        if (defect === "BATCH_OVER_A_GAP" && batch.reset === null)
          take({ since: place, clientId }, { ...batch, from: place });
        else take({ since: batch.from, clientId }, batch);
      });
    },

    hangUp() {
      streamAt = null;
    },

    setClock(byMs) {
      skewMs += byMs;
      replica = shiftClock(replica, byMs);
    },
  };
  return device;
}

/** The server's refusal. Rethrows `cause` when it is not an AppError, or blames the device (BAD_USER_INPUT). */
function refusalOf(cause: unknown): Refusal {
  if (!isAppError(cause) || cause.code === "BAD_USER_INPUT") throw cause;
  const { code, reason, details } = cause;
  return { code, reason, details };
}
