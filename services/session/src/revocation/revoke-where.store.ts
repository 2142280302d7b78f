import { ACR_ORDER } from "@continuo/access";
import type { Pool } from "pg";
import { z } from "zod";
import { Session } from "../session/session.ts";
import { isLive, sessionColumns } from "../session/session.store.ts";
import { lockedHeads } from "../database/user-change.ts";
import { EndedBatch, endedBatch, endSessions } from "./end-sessions.store.ts";
import type { RevokeWhereStore, SessionFilter } from "./revoke-where.ts";

/** $1 now, then the filter in the order of `valuesOf`; a null condition matches everything. */
const MATCHES = `
  s.state = 'ACTIVE' AND ${isLive("s", "$1::timestamptz")}
  AND ($2::uuid IS NULL OR s.user_id = $2) AND ($3::uuid IS NULL OR s.id = $3) AND ($4::uuid IS NULL OR s.device_id = $4)
  AND ($5::text IS NULL OR s.application_id = $5) AND ($6::text IS NULL OR s.country = $6)
  AND ($7::text IS NULL OR s.ip_prefix = $7)
  AND ($8::timestamptz IS NULL OR s.started_at < $8) AND ($9::timestamptz IS NULL OR s.last_active_at < $9)
  AND ($10::text[] IS NULL OR s.acr = ANY ($10)) AND ($11::int IS NULL OR s.policy_version < $11)`;

const COUNT = `
WITH matching AS MATERIALIZED (SELECT s.user_id, s.application_id FROM session.sessions AS s WHERE ${MATCHES})
SELECT count(*) AS sessions, count(DISTINCT user_id) AS users,
       (SELECT coalesce(json_object_agg(each.application_id, each.count ORDER BY each.count DESC), '{}')
          FROM (SELECT application_id, count(*) FROM matching GROUP BY 1) AS each) AS applications
  FROM matching`;

/** $12 limit. */
const LIST = `
SELECT ${sessionColumns("s")} FROM session.sessions AS s
 WHERE ${MATCHES} ORDER BY s.last_active_at DESC, s.id LIMIT $12`;

/**
 * $12 kind, $13 key, $14 limit, $15 begun at. Waits for the heads' locks, by user id, and ends the sessions that are
 * not ended then.
 */
const REVOKE = `
WITH found AS MATERIALIZED (
    SELECT s.id, s.user_id FROM session.sessions AS s WHERE ${MATCHES} AND s.started_at <= $15::timestamptz
     ORDER BY s.user_id, s.id
     LIMIT $14::int),
  ${lockedHeads("SELECT found.user_id FROM found")},
  target AS (
    SELECT found.id, found.user_id, $12::text AS kind, $13::text AS key, 'ADMINISTRATOR' AS reason FROM found),
  ${endSessions({ state: "REVOKED", now: "$1", actor: "NULL", condition: "true" })}
${endedBatch("found")}`;

const Counted = z.object({
  sessions: z.coerce.number(),
  users: z.coerce.number(),
  applications: z.record(z.string(), z.number()),
});

/** An operator's revocations in Postgres. */
export function createRevokeWhereStore(pool: Pool): RevokeWhereStore {
  return {
    async count(filter, now) {
      const { rows } = await pool.query<Record<string, unknown>>({ text: COUNT, values: [now, ...valuesOf(filter)] });
      return Counted.parse(rows[0]);
    },

    async list(filter, limit, now) {
      const values = [now, ...valuesOf(filter), limit];
      const { rows } = await pool.query<Record<string, unknown>>({ text: LIST, values });
      return rows.map((row) => Session.parse(row));
    },

    async revoke(filter, count, begunAt, now) {
      const { kind, key } = selectorOf(filter);
      const { rows } = await pool.query<Record<string, unknown>>({
        text: REVOKE,
        values: [now, ...valuesOf(filter), kind, key, count, begunAt],
      });
      return EndedBatch.parse(rows[0]);
    },
  };
}

function valuesOf(filter: SessionFilter): unknown[] {
  const { acrBelow } = filter;
  return [
    filter.userId ?? null,
    filter.sessionId ?? null,
    filter.deviceId ?? null,
    filter.applicationId ?? null,
    filter.country ?? null,
    filter.ipPrefix ?? null,
    filter.startedBefore ?? null,
    filter.lastActiveBefore ?? null,
    acrBelow === undefined ? null : ACR_ORDER.slice(0, ACR_ORDER.indexOf(acrBelow)),
    filter.policyVersionBelow ?? null,
  ];
}

/** Kind and key for the log: the application or user if that is the only condition, else the whole filter. */
function selectorOf(filter: SessionFilter): { kind: string; key: string } {
  const [only, ...others] = Object.entries(filter).filter(([, value]) => value !== undefined);
  if (only !== undefined && others.length === 0) {
    const [name, value] = only;
    if (name === "applicationId") return { kind: "APPLICATION", key: String(value) };
    if (name === "userId") return { kind: "USER", key: String(value) };
  }
  return { kind: "FILTER", key: JSON.stringify(filter) };
}
