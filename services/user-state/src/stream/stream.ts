/**
 * The stream: a person's state, oldest change first, from any position that a replica has reached. Each unit appears
 * once, in its current state; so it acts as a log or as a snapshot, depending on where the reader starts.
 */
import type { Viewer } from "@continuo/access";
import { AppError } from "@continuo/errors";
import type { Json, KindName } from "@continuo/merge";
import type { Namespaces } from "../namespace/namespace.ts";
import { liftUnit } from "../namespace/versions.ts";
import { namespaceSet, type Cursor, type Cursors } from "./cursor.ts";
import type { Latest } from "./latest.ts";

/** A page ends after the entry that passes this many bytes. */
export const PAGE_BYTES = 512 * 1024;

/**
 * The current state of a unit; its view is computed on request.
 *
 * @public for the generated resolver types
 */
export interface StateEntry {
  readonly namespace: string;
  readonly key: string;
  readonly field: string;
  readonly kind: KindName;
  readonly state: Json;
  readonly deleted: boolean;
  readonly rev: number;
  readonly schemaVersion: number;
  /** When it expires by the server's clock, in milliseconds since the epoch; null: never. */
  readonly expiresAt: number | null;
}

interface Head {
  readonly epoch: string;
  readonly rev: number;
  readonly prunedRev: number;
  /** The server's clock, milliseconds since the epoch. */
  readonly serverNow: number;
}

/** What is known of a replica. */
interface Replica {
  readonly deviceId: string;
  readonly ackedRev: number;
  readonly lastSeq: number;
  /** Not seen for a minute. */
  readonly stale: boolean;
}

export interface Page {
  readonly head: Head;
  readonly replica: Replica | undefined;
  /** In order of rev; at most `first`, and about PAGE_BYTES. */
  readonly entries: readonly StateEntry[];
  readonly hasMore: boolean;
}

export interface StreamStore {
  /** Reads one snapshot. `floor` undefined: the head. Creates the user's head row with `newEpoch` if there is none. */
  read(request: {
    userId: string;
    after: number;
    floor: number | undefined;
    namespaces: readonly string[] | undefined;
    first: number;
    clientId: string | undefined;
    newEpoch: () => string;
  }): Promise<Page>;
  /**
   * Records how far a replica has read; never moves it back. Ignores a new replica whose device already has
   * MAX_REPLICAS.
   */
  acknowledge(replica: { userId: string; clientId: string; deviceId: string; ackedRev: number }): Promise<void>;
}

type ResetReason = "INITIAL" | "EPOCH_CHANGED" | "PRUNED" | "NAMESPACES_CHANGED";

export interface StateBatch {
  readonly from: string | null;
  readonly to: string;
  readonly entries: readonly StateEntry[];
  readonly hasMore: boolean;
  readonly headRev: number;
  readonly epoch: string;
  readonly lastSeq: number | null;
  readonly reset: ResetReason | null;
  readonly serverNow: number;
}

export interface PullRequest {
  readonly since: string | undefined;
  readonly namespaces: readonly string[] | undefined;
  readonly clientId: string | undefined;
  readonly first: number;
}

export interface Stream {
  /**
   * `heard`: state as of this revision, or any later one, is new enough. Throws BAD_USER_INPUT: CURSOR_INVALID,
   * NAMESPACE_UNKNOWN; CONFLICT: CLIENT_OF_OTHER_DEVICE.
   */
  pull(viewer: Viewer, request: PullRequest, heard?: number): Promise<StateBatch>;
}

export function createStream(options: {
  store: StreamStore;
  latest?: Pick<Latest, "after"> | undefined;
  namespaces: Namespaces;
  cursors: Cursors;
  newEpoch: () => string;
}): Stream {
  const { store, latest, namespaces, cursors, newEpoch } = options;

  return {
    async pull({ userId, deviceId }, request, heard) {
      const { since, clientId, first } = request;
      await assertKnown(namespaces, request.namespaces ?? []);
      const cursor = since === undefined ? undefined : cursors.decode(userId, since);
      const wanted = namespaceSet(request.namespaces);
      const read = (from: Pick<Cursor, "rev" | "floor"> | undefined): Promise<Page> =>
        store.read({
          userId,
          after: from?.rev ?? 0,
          floor: from?.floor,
          namespaces: request.namespaces,
          first,
          clientId,
          newEpoch,
        });

      const known = cursor && heard !== undefined ? latest?.after(userId, cursor, heard, request) : undefined;
      let page = known ?? (await read(cursor));
      const reset = resetOf(cursor, page.head, wanted);
      if (cursor !== undefined && reset !== null) page = await read(undefined);

      const { head, replica, entries, hasMore } = page;
      if (replica !== undefined && replica.deviceId !== deviceId)
        throw new AppError(
          "CONFLICT",
          "CLIENT_OF_OTHER_DEVICE",
          "This clientId belongs to another device: take a new one.",
        );
      if (clientId !== undefined && cursor !== undefined) {
        const ackedRev = reset === null ? cursor.rev : 0;
        if (replica === undefined || replica.stale || replica.ackedRev < ackedRev)
          await store.acknowledge({ userId, clientId, deviceId, ackedRev });
      }
      const rev = hasMore ? (entries.at(-1)?.rev ?? head.rev) : head.rev;
      const floor = reset === null ? (cursor?.floor ?? 0) : head.rev;
      return {
        from: since ?? null,
        to: cursors.encode(userId, { epoch: head.epoch, rev, floor: floor > rev ? floor : 0, namespaces: wanted }),
        entries: await liftToNewest(namespaces, entries),
        hasMore,
        headRev: head.rev,
        epoch: head.epoch,
        lastSeq: clientId === undefined ? null : (replica?.lastSeq ?? 0),
        reset,
        serverNow: head.serverNow,
      };
    },
  };
}

/** Converts entries to the newest versions of their namespaces, leaving out what those no longer show. */
async function liftToNewest(namespaces: Namespaces, entries: readonly StateEntry[]): Promise<readonly StateEntry[]> {
  const known = await namespaces.find(entries.map(({ namespace }) => namespace));
  return entries.flatMap((entry) => {
    const namespace = known.get(entry.namespace);
    if (namespace === undefined || namespace.version === 1) return [entry];
    const lifted = liftUnit(namespace, entry);
    return lifted === undefined ? [] : [{ ...entry, ...lifted, schemaVersion: namespace.version }];
  });
}

/** Why the reader must start over; null when it may continue. */
function resetOf(cursor: Cursor | undefined, head: Head, wanted: string): ResetReason | null {
  if (cursor === undefined) return "INITIAL";
  // A cursor beyond the head belongs to a history that this database has lost.
  if (cursor.epoch !== head.epoch || cursor.rev > head.rev) return "EPOCH_CHANGED";
  if (cursor.namespaces !== wanted) return "NAMESPACES_CHANGED";
  return Math.max(cursor.rev, cursor.floor) < head.prunedRev ? "PRUNED" : null;
}

/** Throws BAD_USER_INPUT, NAMESPACE_UNKNOWN unless all of `names` exist. */
export async function assertKnown(namespaces: Namespaces, names: readonly string[]): Promise<void> {
  const known = await namespaces.find(names);
  const unknown = names.filter((name) => !known.has(name));
  if (unknown.length === 0) return;
  throw new AppError("BAD_USER_INPUT", "NAMESPACE_UNKNOWN", "There is no such namespace.", { details: { unknown } });
}

/**
 * A user as the gateway references it.
 *
 * @public for the generated resolver types
 */
export interface UserReference {
  readonly id: string;
}

/** Throws NOT_FOUND, USER_NOT_FOUND unless the viewer asks for themselves. */
export function assertSelf({ userId }: Viewer, id: string): void {
  if (id !== userId) throw new AppError("NOT_FOUND", "USER_NOT_FOUND", "There is no such person here.");
}
