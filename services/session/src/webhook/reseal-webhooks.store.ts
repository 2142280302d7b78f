import type { Pool } from "pg";
import type { Seal } from "../master-key/seal.ts";

/** Seals each webhook's secret under the current master key, so that a former one can go. What no master key opens stays. */
export async function resealWebhooks(pool: Pool, seal: Seal): Promise<void> {
  const { rows } = await pool.query<{ id: string; sealed: Uint8Array }>(
    "SELECT id, sealed_secret AS sealed FROM session.webhooks WHERE disabled_at IS NULL",
  );
  for (const { id, sealed } of rows) {
    const secret = seal.open(sealed, id);
    if (secret === undefined) continue;
    // One that was replaced meanwhile stays as it is.
    await pool.query("UPDATE session.webhooks SET sealed_secret = $3 WHERE id = $1 AND sealed_secret = $2", [
      id,
      sealed,
      seal.close(secret, id),
    ]);
  }
}
