import { gather } from "@continuo/database";
import type { Pool } from "pg";
import { Session, type SessionStore } from "./session.ts";

/** The columns of a Session in `table`. */
export const sessionColumns = (table: string): string => `
  ${table}.id, ${table}.user_id AS "userId", ${table}.device_id AS "deviceId",
  ${table}.application_id AS "applicationId", ${table}.parent_id AS "parentId",
  ${table}.policy_version AS "policyVersion", ${table}.acr, ${table}.amr, ${table}.auth_time AS "authTime",
  ${table}.started_at AS "startedAt", ${table}.last_active_at AS "lastActiveAt",
  ${table}.idle_deadline AS "idleDeadline", ${table}.absolute_deadline AS "absoluteDeadline",
  ${table}.ip_prefix AS "ipPrefix", ${table}.country, ${table}.state, ${table}.ended_at AS "endedAt", ${table}.end_reason AS "endReason"`;

/**
 * SQL condition: the session is live at `now` (a parameter such as `$2`). Every statement that trusts a session
 * contains it. It tests `ended_at` rather than the equivalent `state`, which would match the partial indexes on `state
 * = 'ACTIVE'`: when statistics taken after a mass sign-out show them as empty, Postgres would scan a whole one of them.
 */
export const isLive = (table: string, now: string): string =>
  `${table}.ended_at IS NULL AND ${table}.idle_deadline > ${now} AND ${table}.absolute_deadline > ${now}`;

const SESSIONS_PER_DEVICE = 100;

const BY_IDS = `SELECT ${sessionColumns("s")} FROM session.sessions AS s WHERE s.id = ANY ($1::uuid[])`;

/**
 * $1 devices, $2 now. A device has few live sessions, so the caller sorts and limits them (`sessionsByDevice`). OFFSET
 * 0 forces the index by device; otherwise Postgres may read all live sessions.
 */
const LIVE = `
SELECT found.* FROM unnest($1::uuid[]) AS device (id)
 CROSS JOIN LATERAL (
   SELECT ${sessionColumns("s")} FROM session.sessions AS s
    WHERE s.device_id = device.id AND ${isLive("s", "$2::timestamptz")} OFFSET 0) AS found`;

/** One row of parameters per device: $1 ids, $2 nows, $3 the time since which ended sessions are included. */
const WITH_ENDED = `
SELECT device.place, found.*
  FROM unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[]) WITH ORDINALITY AS device (id, now, ended_since, place)
 CROSS JOIN LATERAL (
   SELECT ${sessionColumns("s")} FROM session.sessions AS s
    WHERE s.device_id = device.id
      AND ((${isLive("s", "device.now")})
        OR least(s.ended_at, s.idle_deadline, s.absolute_deadline) > device.ended_since)
    ORDER BY s.started_at DESC, s.id DESC
    LIMIT ${SESSIONS_PER_DEVICE}) AS found`;

/** Sessions in Postgres. Concurrent reads, of any request, share a query. */
export function createSessionStore(pool: Pool): SessionStore {
  const byIds = gather(async (asked: readonly (readonly string[])[]) => {
    const ids = [...new Set(asked.flat())];
    const { rows } = await pool.query<Record<string, unknown>>({
      name: "sessions-by-ids",
      text: BY_IDS,
      values: [ids],
    });
    const found = new Map(rows.map((row) => Session.parse(row)).map((session) => [session.id, session]));
    return asked.map((each) => each.map((id) => found.get(id)));
  });

  const live = gather(
    async (asked: readonly { id: string; now: Date }[]) => {
      const { rows } = await pool.query<Record<string, unknown>>({
        name: "live-sessions",
        text: LIVE,
        values: [[...new Set(asked.map(({ id }) => id))], new Date(Math.max(...asked.map(({ now }) => now.getTime())))],
      });
      const found = sessionsByDevice(rows);
      return asked.map(({ id }) => found(id));
    },
    { atMost: 500 },
  );

  const withEnded = gather(
    async (asked: readonly { id: string; now: Date; endedSince: Date }[]) => {
      const { rows } = await pool.query<Record<string, unknown>>({
        name: "sessions-by-devices",
        text: WITH_ENDED,
        values: [asked.map(({ id }) => id), asked.map(({ now }) => now), asked.map(({ endedSince }) => endedSince)],
      });
      const found = Map.groupBy(rows, ({ place }) => Number(place));
      return asked.map((_, index) => (found.get(index + 1) ?? []).map((row) => Session.parse(row)));
    },
    { atMost: 500 },
  );

  return {
    byIds,
    byDevices: (ids, now, endedSince) =>
      Promise.all(ids.map((id) => (endedSince === null ? live({ id, now }) : withEnded({ id, now, endedSince })))),
  };
}

/** Groups unordered, unlimited session rows by device; sorts and limits each group. */
export function sessionsByDevice(rows: readonly Record<string, unknown>[]): (deviceId: string) => Session[] {
  const found = Map.groupBy(
    rows.map((row) => Session.parse(row)),
    ({ deviceId }) => deviceId,
  );
  return (deviceId) => (found.get(deviceId) ?? []).toSorted(newestFirst).slice(0, SESSIONS_PER_DEVICE);
}

function newestFirst(one: Session, other: Session): number {
  return other.startedAt.getTime() - one.startedAt.getTime() || (one.id < other.id ? 1 : -1);
}
