import type { Pool } from "pg";
import type { AssertionStore } from "./client-authentication.ts";

const USE = `
INSERT INTO session.used_client_assertions (id, good_until) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING`;

/** Used assertions in Postgres. When two replicas get the same one at once, the second waits for the first. */
export function createAssertionStore(pool: Pool): AssertionStore {
  return {
    async use(id, goodUntil) {
      const { rowCount } = await pool.query({ name: "use-assertion", text: USE, values: [id, goodUntil] });
      return rowCount === 1;
    },
  };
}
