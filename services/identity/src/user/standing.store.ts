import { applyUserEvents, eraseUserState } from "@continuo/signals";
import type { Pool } from "pg";
import { z } from "zod";
import { posted } from "../outbox.ts";
import type { StandingStore, UserStanding } from "./standing.ts";

const COLUMNS = `u.id, u.email, u.created_at AS "createdAt", u.disabled_at AS "disabledAt",
  (SELECT coalesce(max(a.failures), 0) FROM identity.authenticators AS a WHERE a.user_id = u.id) AS failures`;
const SHOWN = `SELECT id, email, "createdAt", "disabledAt", failures FROM changed`;

const FIND_BY_ID = `SELECT ${COLUMNS} FROM identity.users AS u WHERE u.id = $1`;
const FIND_BY_EMAIL = `SELECT ${COLUMNS} FROM identity.users AS u WHERE u.email = $1`;

const UNLOCK = `UPDATE identity.authenticators SET failures = 0 WHERE user_id = $1`;

/** $1 id, $2 when, $3 topics, $4 delays. */
const DISABLE = `
WITH changed AS (
    UPDATE identity.users AS u
       SET epoch = u.epoch + (u.disabled_at IS NULL)::int, disabled_at = coalesce(u.disabled_at, $2::timestamptz)
     WHERE u.id = $1 RETURNING u.epoch, ${COLUMNS}),${posted("$3", "$4", "DISABLED")}
${SHOWN}`;

/** $1 id, $2 topics, $3 delays. */
const ENABLE = `
WITH changed AS (
    UPDATE identity.users AS u SET epoch = u.epoch + (u.disabled_at IS NOT NULL)::int, disabled_at = NULL
     WHERE u.id = $1 RETURNING u.epoch, ${COLUMNS}),${posted("$2", "$3", "ENABLED")}
${SHOWN}`;

/** $1 id, $2 topics, $3 delays. Authenticators are deleted by cascade. */
const REMOVE = `
WITH changed AS (
    DELETE FROM identity.users AS u WHERE u.id = $1 RETURNING u.epoch + 1 AS epoch, ${COLUMNS}),${posted("$2", "$3", "DELETED")}
${SHOWN}`;

const Standing = z.object({
  id: z.uuid(),
  email: z.string(),
  createdAt: z.date(),
  disabledAt: z.date().nullable(),
  failures: z.number(),
});

/** The operators' view of users, in Postgres. */
export function createStandingStore(pool: Pool): StandingStore {
  async function one(text: string, values: unknown[]): Promise<UserStanding | undefined> {
    const { rows } = await pool.query<Record<string, unknown>>({ text, values });
    return rows[0] && Standing.parse(rows[0]);
  }
  return {
    find: (key) => one(z.uuid().safeParse(key).success ? FIND_BY_ID : FIND_BY_EMAIL, [key]),
    unlock: async (id) => void (await pool.query(UNLOCK, [id])),
    disable: (id, at, delays) => one(DISABLE, [id, at, [applyUserEvents.name], delays]),
    enable: (id, delays) => one(ENABLE, [id, [applyUserEvents.name], delays]),
    remove: (id, delays) => one(REMOVE, [id, [applyUserEvents.name, eraseUserState.name], delays]),
  };
}
