import { gather } from "@continuo/database";
import type { Pool } from "pg";
import { z } from "zod";
import type { UserStore } from "./user.ts";

const BY_IDS = `
SELECT id, email, created_at AS "createdAt" FROM identity.users WHERE id = ANY ($1::uuid[]) AND disabled_at IS NULL`;

const User = z.object({ id: z.uuid(), email: z.string(), createdAt: z.date() });

/** Users in Postgres. Concurrent loads, of any request, share one query. */
export function createUserStore(pool: Pool): UserStore {
  const loadUser = gather(async (ids: readonly string[]) => {
    const { rows } = await pool.query<Record<string, unknown>>({
      name: "users-by-ids",
      text: BY_IDS,
      values: [[...new Set(ids)]],
    });
    const found = new Map(rows.map((row) => User.parse(row)).map((user) => [user.id, user]));
    return ids.map((id) => found.get(id) ?? null);
  });
  return { loadUser };
}
