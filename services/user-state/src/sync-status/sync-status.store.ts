import type { Pool } from "pg";
import type { SyncStatusStore } from "./sync-status.ts";

/** A device may have several replicas (tabs, applications): the furthest represents it, and pending changes add up. */
const READ = `
  SELECT client.device_id, max(client.acked_rev)::float8 AS acked_rev, max(client.seen_at) AS seen_at,
         sum(client.pending)::int AS pending, head.rev::float8 AS head_rev
  FROM user_state.sync_clients AS client
  JOIN user_state.user_heads AS head ON head.user_id = client.user_id
  WHERE client.user_id = $1 AND client.device_id = ANY ($2::uuid[])
  GROUP BY client.device_id, head.rev`;

interface Row {
  readonly device_id: string;
  readonly acked_rev: number;
  readonly seen_at: Date;
  /** Null when no replica reported it. */
  readonly pending: number | null;
  readonly head_rev: number;
}

/** Reads the status of any number of devices in one statement. */
export function createSyncStatusStore(pool: Pool): SyncStatusStore {
  return {
    async load(userId, deviceIds) {
      const { rows } = await pool.query<Row>({ name: "sync_status_read", text: READ, values: [userId, deviceIds] });
      return new Map(
        rows.map(({ device_id, acked_rev, head_rev, pending, seen_at }) => [
          device_id,
          { ackedRev: acked_rev, headRev: head_rev, pending, lastSeenAt: seen_at },
        ]),
      );
    },
  };
}
