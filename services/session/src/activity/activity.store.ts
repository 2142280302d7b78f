import type { Pool } from "pg";
import { z } from "zod";
import { lockedHeads } from "../database/user-change.ts";
import { isLive } from "../session/session.store.ts";
import type { ActivityStore } from "./activity.ts";

/**
 * $1 sessions, $2 seen at, $3 grants, $4 generations, $5 now, $6 prefixes, $7 countries. Checked again under the locks.
 */
const isDue = (seen: string): string => `
  ${isLive("s", "$5::timestamptz")}
  AND ${seen}.at >= s.last_active_at + least(interval '1 minute', make_interval(secs => s.idle_seconds / 4.0))`;

/** Locks: heads by user id, then grants by id; see revocation/end-sessions.store.ts. */
const RECORD = `
WITH report AS MATERIALIZED (
    SELECT DISTINCT ON (r.session_id) r.session_id, least(r.at, $5::timestamptz) AS at, r.ip_prefix, r.country
      FROM unnest($1::uuid[], $2::timestamptz[], $6::text[], $7::text[]) AS r (session_id, at, ip_prefix, country)
     ORDER BY r.session_id, r.at DESC),
  due AS MATERIALIZED (
    -- OFFSET 0, and IS TRUE below: by the key alone; else all that live may be read.
    SELECT report.*, found.user_id FROM report
     CROSS JOIN LATERAL (
       SELECT s.user_id FROM session.sessions AS s WHERE s.id = report.session_id AND ${isDue("report")} OFFSET 0) AS found),
  ${lockedHeads("SELECT due.user_id FROM due")},
  moved AS (
    UPDATE session.sessions AS s
       SET last_active_at = due.at,
           idle_deadline = due.at + make_interval(secs => s.idle_seconds),
           ip_prefix = coalesce(due.ip_prefix, s.ip_prefix),
           country = CASE WHEN due.ip_prefix IS NULL THEN s.country ELSE due.country END
      FROM (SELECT due.*, head.device_rev FROM due JOIN head USING (user_id) OFFSET 0) AS due
     WHERE s.id = due.session_id AND (${isDue("due")}) IS TRUE
    RETURNING s.device_id, s.last_active_at, due.device_rev),
  stamped AS (
    UPDATE session.devices AS d
       SET last_seen_at = greatest(d.last_seen_at, seen.at), rev = seen.device_rev
      FROM (SELECT device_id, device_rev, max(last_active_at) AS at FROM moved GROUP BY device_id, device_rev) AS seen
     WHERE d.id = seen.device_id
    RETURNING d.user_id, d.rev),
  arrived AS (
    SELECT g.id, max(r.generation) AS generation
      FROM unnest($1::uuid[], $3::uuid[], $4::int[]) AS r (session_id, grant_id, generation)
      JOIN session.grants AS g ON g.id = r.grant_id AND g.session_id = r.session_id
     WHERE r.generation > g.confirmed_generation AND r.generation <= g.generation
       AND (SELECT count(*) FROM stamped) >= 0
     GROUP BY g.id),
  granted AS MATERIALIZED (
    SELECT g.id, arrived.generation FROM session.grants AS g JOIN arrived ON arrived.id = g.id
     ORDER BY g.id FOR UPDATE OF g),
  confirmed AS (
    UPDATE session.grants AS g SET confirmed_generation = granted.generation
      FROM granted
     WHERE g.id = granted.id AND g.confirmed_generation < granted.generation)
SELECT DISTINCT user_id AS "userId", rev AS "deviceRev" FROM stamped`;

const Changed = z.object({ userId: z.uuid(), deviceRev: z.coerce.number() });

/** Activity in Postgres. */
export function createActivityStore(pool: Pool): ActivityStore {
  return {
    async record(seen, now) {
      const { rows } = await pool.query<Record<string, unknown>>({
        name: "record-activity",
        text: RECORD,
        values: [
          seen.map(({ sessionId }) => sessionId),
          seen.map(({ at }) => new Date(at)),
          seen.map(({ grantId }) => grantId),
          seen.map(({ generation }) => generation),
          now,
          seen.map(({ place }) => place.ipPrefix),
          seen.map(({ place }) => place.country),
        ],
      });
      return rows.map((row) => Changed.parse(row));
    },
  };
}
