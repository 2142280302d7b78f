import type { Json } from "@continuo/merge";
import type { Pool } from "pg";
import type { HistoryStore } from "./history.ts";

const READ = `
  SELECT entry.state, entry.schema_version,
         (SELECT coalesce(jsonb_object_agg(client_id, device_id), '{}')
          FROM user_state.sync_clients WHERE user_id = $1) AS devices
  FROM user_state.state_entries AS entry
  WHERE user_id = $1 AND namespace = $2 AND key = $3 AND field = $4 AND kind IN ('REGISTER', 'OPAQUE')
    AND (expires_at IS NULL OR expires_at > statement_timestamp())`;

/** Reads histories through `pool`, in one statement. */
export function createHistoryStore(pool: Pool): HistoryStore {
  return {
    async load(userId, { namespace, key, field }) {
      const { rows } = await pool.query<{ state: Json; schema_version: number; devices: Record<string, string> }>({
        name: "history_read",
        text: READ,
        values: [userId, namespace, key, field],
      });
      const [row] = rows;
      return row && { state: row.state, schemaVersion: row.schema_version, devices: row.devices };
    },
  };
}
