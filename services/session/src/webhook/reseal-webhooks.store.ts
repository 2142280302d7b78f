import type { Pool } from "pg";
import type { Seal } from "../master-key/seal.ts";

/** A concurrent replacement moves a secret from the first column to the second, so this order misses none. */
const COLUMNS = ["sealed_secret", "former_sealed_secret"] as const;

/**
 * Reseals webhooks' secrets under the current master key, so that former ones can be removed. Skips what no master key
 * opens.
 */
export async function resealWebhooks(pool: Pool, seal: Seal): Promise<void> {
  for (const column of COLUMNS) {
    const { rows } = await pool.query<{ id: string; sealed: Uint8Array }>(
      `SELECT id, ${column} AS sealed FROM session.webhooks WHERE disabled_at IS NULL AND ${column} IS NOT NULL`,
    );
    for (const { id, sealed } of rows) {
      const secret = seal.open(sealed, id);
      if (secret === undefined) continue;
      // Leaves a concurrently replaced secret unchanged.
      await pool.query(`UPDATE session.webhooks SET ${column} = $3 WHERE id = $1 AND ${column} = $2`, [
        id,
        sealed,
        seal.close(secret, id),
      ]);
    }
  }
}
