/**
 * Caches, for a minute, what this process read and wrote for users whose state only this process is changing: their
 * next push is settled without a read. The cache may be stale, but the write verifies it: unless the head row still has
 * that version, nothing is written.
 */
import { LRUCache } from "lru-cache";
import type { Before, Change, Push, Settlement } from "./push.ts";
import type { Moved } from "./settlement.store.ts";
import { namesOf, type Standing } from "./standing.store.ts";
import { unitId, type Unit } from "./unit.ts";

export interface StandingMemory {
  /** Returns undefined when a read is needed: the push meets units that are not cached, or repeats settled ops. */
  recall(asked: { userId: string; push: Push }): Standing | undefined;
  /** Caches what a push met and changed, once it is committed. */
  keep(origin: { userId: string; deviceId: string; push: Push }, met: Standing, made: Settlement, moved: Moved): void;
}

const KEPT_MS = 60_000;
const MAX_BYTES = 32 * 1024 * 1024;
const MAX_BYTES_OF_USER = 1024 * 1024;
/** The overhead per unit (besides its state), per replica and per user: names and objects. */
const BYTES_AROUND = 500;

interface Remembered {
  readonly head: Omit<Before, "client" | "siblings" | "units" | "answers">;
  readonly moved: Moved;
  /** When it was cached, by this process's clock, in milliseconds. */
  readonly at: number;
  readonly soonestExpiry: number | null;
  /**
   * Whether the last push met what the push before it had left, and none is in progress on this state. Otherwise other
   * processes write too, and settling from the cache would often waste a statement.
   */
  isSoleWriter: boolean;
  readonly clients: Map<string, NonNullable<Before["client"]>>;
  /** By `unitId`; null where there is no unit. */
  readonly units: Map<string, Unit | null>;
  readonly bytes: number;
}

/**
 * `now` is monotonic, in milliseconds, and never 0: the cache treats 0 as unset and would read the clock anew each
 * millisecond.
 */
export function createStandingMemory(now: () => number): StandingMemory {
  const byUser = new LRUCache<string, Remembered>({
    maxSize: MAX_BYTES,
    ttl: KEPT_MS,
    ttlResolution: 0,
    // Purges unread entries too: their content may have been erased.
    ttlAutopurge: true,
    perf: { now },
  });

  return {
    recall({ userId, push: { clientId, ops } }) {
      const known = byUser.get(userId);
      const client = known?.clients.get(clientId);
      if (known === undefined || client === undefined || !known.isSoleWriter) return undefined;
      if (ops.some(({ op }) => op.seq <= client.lastSeq)) return undefined;
      const units = new Map<string, Unit>();
      for (const id of namesOf(ops).keys()) {
        const unit = known.units.get(id);
        if (unit === undefined) return undefined;
        if (unit !== null) units.set(id, apart(unit));
      }

      known.isSoleWriter = false;
      const { head, moved, at, soonestExpiry } = known;
      const serverNow = Math.max(head.serverNow, Math.floor(moved.serverNow + now() - at));
      const before: Before = { ...head, serverNow, client, siblings: 0, units, answers: new Map() };
      return { before, version: moved.version, soonestExpiry };
    },

    keep({ userId, deviceId, push }, { before, version, soonestExpiry }, made, moved) {
      const last = byUser.get(userId);
      const isSoleWriter = last?.moved.version === version;
      const mayGrow = isSoleWriter && last.bytes < MAX_BYTES_OF_USER;
      const { clients, units } = mayGrow ? last : { clients: new Map(), units: new Map() };
      let bytes = mayGrow ? last.bytes : BYTES_AROUND;
      const set = (id: string, unit: Unit | null): void => {
        bytes += sizeOf(unit) - sizeOf(units.get(id));
        units.set(id, unit && apart(unit));
      };
      bytes += clients.has(push.clientId) ? 0 : BYTES_AROUND;
      clients.set(push.clientId, { deviceId, lastSeq: made.lastSeq });
      for (const id of namesOf(push.ops).keys()) set(id, before.units.get(id) ?? null);
      for (const change of made.changes) set(unitId(change), standingOf(change));
      const remembered: Remembered = {
        head: {
          epoch: before.epoch,
          rev: made.rev,
          prunedRev: before.prunedRev,
          clientsPrunedBefore: before.clientsPrunedBefore,
          erased: before.erased,
          serverNow: made.serverNow,
          usage: made.usage,
        },
        moved,
        at: now(),
        soonestExpiry: made.changes.reduce((soonest, { expiresAt }) => sooner(soonest, expiresAt), soonestExpiry),
        isSoleWriter,
        clients,
        units,
        bytes,
      };
      byUser.set(userId, remembered, { size: bytes });
    },
  };
}

function standingOf({ kind, state, rev, schemaVersion, bytes, removedMs }: Change): Unit {
  return { kind, state, rev, schemaVersion, bytes, removedMs };
}

/**
 * A text's loaded document is attached to its state object and is many times larger, so the cache keeps a copy without
 * it.
 */
function apart(unit: Unit): Unit {
  return unit.kind === "TEXT" ? { ...unit, state: Object.assign({}, unit.state) } : unit;
}

function sizeOf(unit: Unit | null | undefined): number {
  return unit === undefined ? 0 : BYTES_AROUND + (unit?.bytes ?? 0);
}

function sooner(one: number | null, other: number | null): number | null {
  return one === null || other === null ? (one ?? other) : Math.min(one, other);
}
