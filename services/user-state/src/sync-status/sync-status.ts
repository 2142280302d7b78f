/**
 * Sync status: how far a device's copy of the state has synced. The session subgraph owns the device; here it is only
 * an id, which may not be one of the viewer's devices.
 */
import type { Viewer } from "@continuo/access";
import DataLoader from "dataloader";

interface SyncStatus {
  readonly ackedRev: number;
  readonly headRev: number;
  /** Changes still waiting on the device when it last pushed; null when it did not say. */
  readonly pending: number | null;
  readonly lastSeenAt: Date;
}

/**
 * A device as the gateway references it.
 *
 * @public for the generated resolver types
 */
export interface DeviceReference {
  readonly id: string;
}

export interface SyncStatusStore {
  /** By device; a device that never synced, or is not this user's, is missing. */
  load(userId: string, deviceIds: readonly string[]): Promise<ReadonlyMap<string, SyncStatus>>;
}

/** Null for a device that never synced, or is not the viewer's. */
export type SyncStatusOf = (viewer: Viewer, deviceId: string) => Promise<SyncStatus | null>;

const UUID = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i;

/** Per request, which has one viewer: batches its devices into one read. */
export function createSyncStatusOf(store: SyncStatusStore): SyncStatusOf {
  let gathering: DataLoader<string, SyncStatus | null> | undefined;

  function gather({ userId }: Viewer): DataLoader<string, SyncStatus | null> {
    return new DataLoader(async (ids) => {
      const statuses = await store.load(
        userId,
        ids.filter((id) => UUID.test(id)),
      );
      return ids.map((id) => statuses.get(id.toLowerCase()) ?? null);
    });
  }

  return (viewer, deviceId) => (gathering ??= gather(viewer)).load(deviceId);
}
