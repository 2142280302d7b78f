import type { Pool } from "pg";
import type { Seal } from "../master-key/seal.ts";

/** In the order in which a secret that is replaced meanwhile goes through them. */
const COLUMNS = ["sealed_secret", "former_sealed_secret"] as const;

/** Seals webhooks' secrets under the current master key, so that a former one can go. What no master key opens stays. */
export async function resealWebhooks(pool: Pool, seal: Seal): Promise<void> {
  for (const column of COLUMNS) {
    const { rows } = await pool.query<{ id: string; sealed: Uint8Array }>(
      `SELECT id, ${column} AS sealed FROM session.webhooks WHERE disabled_at IS NULL AND ${column} IS NOT NULL`,
    );
    for (const { id, sealed } of rows) {
      const secret = seal.open(sealed, id);
      if (secret === undefined) continue;
      // One that was replaced meanwhile stays as it is.
      await pool.query(`UPDATE session.webhooks SET ${column} = $3 WHERE id = $1 AND ${column} = $2`, [
        id,
        sealed,
        seal.close(secret, id),
      ]);
    }
  }
}
