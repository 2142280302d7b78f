import type { Pool } from "pg";
import { Session, type SessionStore } from "./session.ts";

/** The columns of a Session, of the table named `table`. */
export const sessionColumns = (table: string): string => `
  ${table}.id, ${table}.user_id AS "userId", ${table}.device_id AS "deviceId",
  ${table}.application_id AS "applicationId", ${table}.parent_id AS "parentId",
  ${table}.policy_version AS "policyVersion", ${table}.acr, ${table}.amr, ${table}.auth_time AS "authTime",
  ${table}.started_at AS "startedAt", ${table}.last_active_at AS "lastActiveAt",
  ${table}.idle_deadline AS "idleDeadline", ${table}.absolute_deadline AS "absoluteDeadline",
  ${table}.state, ${table}.ended_at AS "endedAt", ${table}.end_reason AS "endReason"`;

/** The predicate that makes a session live at `now` (a parameter such as `$2`). It stands in every statement that trusts one. */
export const isLive = (table: string, now: string): string =>
  `${table}.state = 'ACTIVE' AND ${table}.idle_deadline > ${now} AND ${table}.absolute_deadline > ${now}`;

const SESSIONS_PER_DEVICE = 100;

/** Sessions in Postgres. */
export function createSessionStore(pool: Pool): SessionStore {
  return {
    async byIds(ids) {
      const { rows } = await pool.query<Record<string, unknown>>({
        name: "sessions-by-ids",
        text: `SELECT ${sessionColumns("s")} FROM session.sessions AS s WHERE s.id = ANY ($1::uuid[])`,
        values: [ids],
      });
      const found = new Map(rows.map((row) => Session.parse(row)).map((session) => [session.id, session]));
      return ids.map((id) => found.get(id));
    },

    async byDevices(deviceIds, now, endedSince) {
      const { rows } = await pool.query<Record<string, unknown>>({
        name: "sessions-by-devices",
        text: `
          SELECT found.*
            FROM unnest($1::uuid[]) AS device (id)
           CROSS JOIN LATERAL (
             SELECT ${sessionColumns("s")} FROM session.sessions AS s
              WHERE s.device_id = device.id
                AND ((${isLive("s", "$2::timestamptz")})
                  OR least(s.ended_at, s.idle_deadline, s.absolute_deadline) > $3::timestamptz)
              ORDER BY s.started_at DESC, s.id DESC
              LIMIT ${SESSIONS_PER_DEVICE}) AS found`,
        values: [deviceIds, now, endedSince],
      });
      const sessions = rows.map((row) => Session.parse(row));
      return deviceIds.map((id) => sessions.filter(({ deviceId }) => deviceId === id));
    },
  };
}
