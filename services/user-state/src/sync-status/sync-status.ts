/**
 * Sync status: how far a device's copy of the state is. The device itself is the session subgraph's;
 * here it is an id of one of the viewer's devices, or nothing.
 */
import type { Viewer } from "@continuo/access";

export interface SyncStatus {
  readonly ackedRev: number;
  readonly headRev: number;
  readonly lastSeenAt: Date;
}

/** A device as the gateway names it. */
export interface DeviceReference {
  readonly id: string;
}

export interface SyncStatusStore {
  /** By device; a device that never synced, or is not this user's, is missing. */
  load(userId: string, deviceIds: readonly string[]): Promise<ReadonlyMap<string, SyncStatus>>;
}

export interface SyncStatuses {
  /** In the order of `deviceIds`; null for a device that never synced, or is not the viewer's. */
  ofDevices(viewer: Viewer, deviceIds: readonly string[]): Promise<(SyncStatus | null)[]>;
}

const UUID = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i;

export function createSyncStatuses(store: SyncStatusStore): SyncStatuses {
  return {
    async ofDevices({ userId }, deviceIds) {
      const statuses = await store.load(
        userId,
        deviceIds.filter((id) => UUID.test(id)),
      );
      return deviceIds.map((id) => statuses.get(id.toLowerCase()) ?? null);
    },
  };
}
