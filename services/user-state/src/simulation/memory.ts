/** One person's state in memory, behind the same store interfaces as Postgres: the use cases run on it unchanged. */
import type { EntryStore } from "../entry/entry.ts";
import { makeTombstones, expiredState } from "../entry/expiry.ts";
import { usageAfter, type Usage } from "../entry/quota.ts";
import type { Answer, Before, Change } from "../entry/push.ts";
import { KINDS_THAT_STAY, KINDS_WITH_GENERATIONS, unitId } from "../entry/unit.ts";
import type { ErasureStore } from "../erasure/erasure.ts";
import { forgetInMap, type RetentionStore } from "../retention/retention.ts";
import type { StreamStore } from "../stream/stream.ts";

interface Client {
  readonly deviceId: string;
  readonly lastSeq: number;
  readonly ackedRev: number;
  readonly seenAt: number;
}

/** Everything as one immutable value, so keeping a reference is a backup. */
export interface Stored {
  readonly head: Omit<Before, "client" | "siblings" | "units" | "answers" | "serverNow"> & { readonly maxMs: number };
  readonly units: ReadonlyMap<string, Change>;
  readonly clients: ReadonlyMap<string, Client>;
  /** By client, then seq. */
  readonly answers: ReadonlyMap<string, ReadonlyMap<number, Answer & { readonly at: number }>>;
}

export interface Memory {
  readonly entries: EntryStore;
  readonly stream: StreamStore;
  readonly retention: RetentionStore;
  readonly erasure: ErasureStore;
  readonly stored: () => Stored;
  readonly restore: (stored: Stored) => void;
}

/** Starts empty; `now` is the server's clock, and `counts` are incremented. */
export function createMemory(
  epoch: string,
  { now, counts }: { now: () => number; counts: { expired: number } },
): Memory {
  let stored: Stored = {
    head: {
      epoch,
      rev: 0,
      prunedRev: 0,
      clientsPrunedBefore: null,
      erased: {},
      usage: { entries: 0, bytes: 0, namespaces: {} },
      maxMs: now(),
    },
    units: new Map(),
    clients: new Map(),
    answers: new Map(),
  };
  const withHead = (head: Partial<Stored["head"]>): void => {
    stored = { ...stored, head: { ...stored.head, ...head } };
  };

  const isDue = ({ expiresAt }: Change): boolean =>
    (expiresAt ?? Number.POSITIVE_INFINITY) <= Math.max(stored.head.maxMs, now());

  function buryAll(): number {
    const due = [...stored.units.values()].filter(isDue);
    const { rev, usage, tombstones } = makeTombstones(stored.head, due);
    const units = new Map(stored.units);
    for (const tombstone of tombstones) {
      const unit = units.get(unitId(tombstone));
      if (unit === undefined) continue;
      const { state, bytes } = tombstone;
      const buried = { state, bytes, rev: tombstone.rev, deleted: true, removedMs: now(), expiresAt: null };
      units.set(unitId(tombstone), { ...unit, ...buried });
    }
    stored = { ...stored, head: { ...stored.head, rev, usage }, units };
    counts.expired += due.length;
    return due.length;
  }

  const entries: EntryStore = {
    async settle({ deviceId, push }, decide) {
      buryAll();
      const { clientId } = push;
      const { head } = stored;
      const serverNow = Math.max(head.maxMs, now());
      const known = stored.answers.get(clientId) ?? new Map<number, Answer & { at: number }>();
      const client = stored.clients.get(clientId);
      const settlement = decide({ ...head, serverNow, client, siblings: 0, units: met(stored.units), answers: known });
      const { rev, usage, changes, answers, lastSeq } = settlement;
      const units = new Map(stored.units);
      for (const change of changes) units.set(unitId(change), { ...change, appended: null });
      const kept = new Map(known);
      for (const answer of answers) kept.set(answer.seq, { ...answer, at: now() });
      const ackedRev = Math.max(client?.ackedRev ?? 0, Math.min(push.baseRev, rev));
      stored = {
        head: { ...head, rev, usage, maxMs: settlement.serverNow },
        units,
        clients: new Map(stored.clients).set(clientId, { deviceId, lastSeq, ackedRev, seenAt: now() }),
        answers: new Map(stored.answers).set(clientId, kept),
      };
      return settlement;
    },
    async look({ clientId }) {
      const { head, clients } = stored;
      const serverNow = Math.max(head.maxMs, now());
      return { ...head, serverNow, client: clients.get(clientId), siblings: 0, units: new Map(), answers: new Map() };
    },
  };

  const stream: StreamStore = {
    async read({ after, floor, namespaces, first, clientId }) {
      const { head, units, clients } = stored;
      const found = [...units.values()]
        .map((unit) => (isDue(unit) ? { ...unit, state: expiredState(unit), deleted: true, expiresAt: null } : unit))
        .filter(
          ({ rev, deleted, kind, namespace }) =>
            rev > after &&
            (!deleted || KINDS_WITH_GENERATIONS.includes(kind) || rev > (floor ?? head.rev)) &&
            (namespaces === undefined || namespaces.includes(namespace)),
        )
        .sort((one, other) => one.rev - other.rev);
      const client = clientId === undefined ? undefined : clients.get(clientId);
      return {
        head: { epoch: head.epoch, rev: head.rev, prunedRev: head.prunedRev, serverNow: Math.max(head.maxMs, now()) },
        replica: client && { ...client, stale: client.seenAt < now() - 60_000 },
        entries: found.slice(0, first),
        hasMore: found.length > first,
      };
    },
    async acknowledge({ clientId, deviceId, ackedRev }) {
      const client = stored.clients.get(clientId);
      stored = {
        ...stored,
        clients: new Map(stored.clients).set(clientId, {
          deviceId,
          lastSeq: client?.lastSeq ?? 0,
          ackedRev: Math.max(client?.ackedRev ?? 0, ackedRev),
          seenAt: now(),
        }),
      };
    },
  };

  const leastAcked = (): number =>
    Math.min(...[...stored.clients.values()].map(({ ackedRev }) => ackedRev), Number.MAX_SAFE_INTEGER);

  const retention: RetentionStore = {
    now: async () => new Date(now()),
    async forgetAnswers(cutoff) {
      let count = 0;
      const answers = new Map(
        [...stored.answers].map(([clientId, kept]) => {
          const left = [...kept].filter(([, { at }]) => at >= cutoff.getTime());
          count += kept.size - left.length;
          return [clientId, new Map(left)] as const;
        }),
      );
      stored = { ...stored, answers };
      return count;
    },
    forgetActivities: async () => 0,
    async forgetReplicas(cutoff) {
      const clients = new Map([...stored.clients].filter(([, { seenAt }]) => seenAt >= cutoff.getTime()));
      const count = stored.clients.size - clients.size;
      if (count > 0) withHead({ clientsPrunedBefore: cutoff });
      stored = { ...stored, clients };
      return count;
    },
    usersWithRemovals: async (_cutoff, afterUserId) => (afterUserId < USER ? [USER] : []),
    usersWithExpired: async (afterUserId) => (afterUserId < USER ? [USER] : []),
    buryExpired: async () => buryAll(),
    async pruneTombstones(_userId, cutoff) {
      const acked = leastAcked();
      const isDue = ({ deleted, removedMs, ms, rev }: Change): boolean =>
        deleted && removedMs !== null && Math.max(removedMs, ms) < cutoff.getTime() && rev <= acked;
      const due = [...stored.units.values()].filter(isDue);
      withHead({
        prunedRev: Math.max(stored.head.prunedRev, ...due.map(({ rev }) => rev)),
        usage: usageWithout(stored.head.usage, due),
      });
      stored = { ...stored, units: new Map([...stored.units].filter(([, unit]) => !isDue(unit))) };
      return due.length;
    },
    async pruneMaps(_userId, cutoff) {
      let count = 0;
      for (const [id, unit] of stored.units) {
        if (unit.kind !== "MAP" || unit.deleted || unit.removedMs === null || unit.removedMs >= cutoff.getTime())
          continue;
        const forgotten = forgetInMap(unit.state, leastAcked(), cutoff.getTime());
        if (forgotten === undefined) continue;
        const rev = stored.head.rev + 1;
        withHead({ rev, prunedRev: Math.max(stored.head.prunedRev, forgotten.fence) });
        const removedMs = forgotten.isClean ? null : cutoff.getTime();
        stored = {
          ...stored,
          units: new Map(stored.units).set(id, { ...unit, state: forgotten.state, rev, removedMs }),
        };
        count += 1;
      }
      return count;
    },
  };

  const erasure: ErasureStore = {
    async erase({ namespaces, newEpoch }) {
      const { head } = stored;
      const rev = head.rev + 1;
      const isErased = ({ namespace }: Change): boolean => namespaces?.includes(namespace) ?? true;
      const gone = [...stored.units.values()].filter(isErased);
      const outcomes = [...stored.answers.values()].reduce((sum, kept) => sum + kept.size, 0);
      const receipt = {
        at: new Date(now()),
        epoch: newEpoch,
        rev,
        activityRev: 0,
        namespaces: [...Map.groupBy(gone, ({ namespace }) => namespace)].map(([namespace, units]) => ({
          namespace,
          entries: units.length,
          textUpdates: 0,
          activities: 0,
        })),
        outcomes: namespaces === undefined ? outcomes : 0,
        replicas: namespaces === undefined ? stored.clients.size : 0,
      };
      stored = {
        head: {
          ...head,
          rev,
          epoch: newEpoch,
          usage: usageWithout(head.usage, gone),
          erased:
            namespaces === undefined
              ? { "*": rev }
              : { ...head.erased, ...Object.fromEntries(namespaces.map((name) => [name, rev])) },
        },
        units: new Map([...stored.units].filter(([, unit]) => !isErased(unit))),
        clients: namespaces === undefined ? new Map() : stored.clients,
        answers: namespaces === undefined ? new Map() : stored.answers,
      };
      return receipt;
    },
  };

  return {
    entries,
    stream,
    retention,
    erasure,
    stored: () => stored,
    restore: (backup) => {
      stored = backup;
    },
  };
}

/** Expired numbers no longer count. */
function usageWithout(usage: Usage, gone: readonly Change[]): Usage {
  return gone
    .filter(({ deleted, kind }) => !deleted || !KINDS_THAT_STAY.includes(kind))
    .reduce((left, unit) => usageAfter(left, unit, unit, undefined), usage);
}

/** The units that an op may meet: an expired number counts as missing. */
function met(units: Stored["units"]): Stored["units"] {
  return new Map([...units].filter(([, { kind, deleted }]) => !deleted || !KINDS_THAT_STAY.includes(kind)));
}

/** The user whose state this is. */
export const USER = "99999999-9999-4999-8999-999999999999";
