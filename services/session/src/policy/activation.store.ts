import { inTransaction } from "@continuo/database";
import type { Pool, PoolClient } from "pg";
import { z } from "zod";
import { endSessions, LOGGED } from "../revocation/end-sessions.store.ts";
import { Logged } from "../revocation/revocation.ts";
import { isLive } from "../session/session.store.ts";
import type { ActivationStore, Batch } from "./activation.ts";
import { Policy, PolicyVersion } from "./policy.ts";
import { acrSufficesSql, policyColumns } from "./policy.store.ts";

/**
 * The deadlines of session `s` under `rule` from `now` on, never before `now`. A session that was approved in another
 * one also inherited that one's absolute deadline, so its own is never extended.
 */
const nextDeadlines = (now: string): string => `
  greatest(s.last_active_at + make_interval(secs => rule.idle_seconds), ${now}::timestamptz) AS idle_next,
  greatest(
    least(greatest(s.started_at, s.auth_time) + make_interval(secs => rule.absolute_seconds),
          CASE WHEN s.parent_id IS NOT NULL THEN s.absolute_deadline END),
    ${now}::timestamptz) AS absolute_next`;

/** Why a session with these deadlines has lapsed at `now`; null when it has not. */
const lapsedBecause = (idle: string, absolute: string, now: string): string => `
  CASE WHEN least(${idle}, ${absolute}) > ${now}::timestamptz THEN NULL
       WHEN ${idle} < ${absolute} THEN 'IDLE' ELSE 'ABSOLUTE' END`;

/**
 * CTE `judged`: adds to `standing (id, user_id, started_at, max_sessions, lapsed, …)` why each session ends, if it
 * does.
 */
const judged = `
  judged AS MATERIALIZED (
    SELECT placed.*, coalesce(placed.lapsed, CASE WHEN placed.place > placed.max_sessions THEN 'EVICTED' END) AS ends
      FROM (SELECT standing.*,
                   row_number() OVER (PARTITION BY standing.user_id, standing.lapsed IS NULL
                                      ORDER BY standing.started_at DESC, standing.id DESC) AS place
              FROM standing) AS placed)`;

/**
 * CTE `judged`: what a rule would do to the live sessions of application $1 at $2. $3 idle seconds, $4 absolute
 * seconds, $5 max sessions.
 */
export const FORESEEN = `
  rule AS (SELECT $3::int AS idle_seconds, $4::int AS absolute_seconds, $5::int AS max_sessions),
  standing AS MATERIALIZED (
    SELECT next.*, ${lapsedBecause("next.idle_next", "next.absolute_next", "$2")} AS lapsed
      FROM (SELECT s.id, s.user_id, s.acr, s.started_at, least(s.idle_deadline, s.absolute_deadline) AS deadline,
                   rule.max_sessions, ${nextDeadlines("$2")}
              FROM session.sessions AS s, rule
             WHERE s.state = 'ACTIVE' AND s.application_id = $1 AND ${isLive("s", "$2::timestamptz")}) AS next),
  ${judged}`;

const seconds = (deadline: string): string => `extract(epoch FROM ${deadline} - $2::timestamptz)::float8`;

/** The figures of a dry run. Parameters of FORESEEN, and $6 required acr, $7 device binding. */
export const FORECAST = `
WITH ${FORESEEN}
SELECT EXISTS (SELECT FROM session.applications AS a WHERE a.id = $1) AS exists,
       count(*)::int AS sessions, count(DISTINCT user_id)::int AS users,
       json_build_object('IDLE', count(*) FILTER (WHERE ends = 'IDLE'),
                         'ABSOLUTE', count(*) FILTER (WHERE ends = 'ABSOLUTE'),
                         'EVICTED', count(*) FILTER (WHERE ends = 'EVICTED')) AS ends,
       (count(DISTINCT user_id) FILTER (WHERE ends IS NOT NULL))::int AS "usersSignedOut",
       (count(*) FILTER (WHERE ends IS NULL AND (
          NOT ${acrSufficesSql("acr", "$6::text")}
          OR ($7::text = 'DPOP' AND NOT EXISTS (
               SELECT FROM session.grants AS g
                WHERE g.session_id = judged.id AND g.state = 'ACTIVE' AND g.jkt IS NOT NULL)))))::int AS "needStepUp",
       percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY ${seconds("deadline")}) AS before,
       percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (
         ORDER BY CASE WHEN ends IS NULL THEN ${seconds("least(idle_next, absolute_next)")} ELSE 0 END) AS after
  FROM judged`;

const RULE = `rule AS (SELECT p.* FROM session.policies AS p WHERE p.application_id = $1 AND p.state = 'ACTIVE')`;
const BEHIND = `s.state = 'ACTIVE' AND s.application_id = rule.application_id AND s.policy_version < rule.version`;

/** $1 application, $2 now, $3 limit of sessions. Locks the heads of their users, by user id. */
export const LOCK_BEHIND = `
WITH ${RULE},
  behind AS MATERIALIZED (
    SELECT s.user_id FROM rule
     CROSS JOIN LATERAL (
       SELECT s.user_id FROM session.sessions AS s
        WHERE ${BEHIND} AND ${isLive("s", "$2::timestamptz")}
        ORDER BY s.policy_version, s.user_id LIMIT $3::int) AS s)
SELECT h.user_id AS "userId" FROM session.user_heads AS h
 WHERE h.user_id IN (SELECT behind.user_id FROM behind) ORDER BY h.user_id FOR UPDATE`;

/** $1 application, $2 now, $3 users, whose heads are locked. */
export const MOVE = `
WITH ${RULE},
  next AS MATERIALIZED (
    SELECT s.id, s.user_id, s.device_id, rule.version, rule.idle_seconds, ${nextDeadlines("$2")}
      FROM session.sessions AS s, rule
     WHERE ${BEHIND} AND s.user_id = ANY ($3::uuid[]) AND ${isLive("s", "$2::timestamptz")}),
  head AS (
    UPDATE session.user_heads AS h SET device_rev = h.device_rev + 1
     WHERE h.user_id IN (SELECT next.user_id FROM next)
    RETURNING h.user_id, h.device_rev),
  moved AS (
    UPDATE session.sessions AS s
       SET policy_version = next.version, idle_seconds = next.idle_seconds,
           idle_deadline = next.idle_next, absolute_deadline = next.absolute_next
      FROM next WHERE s.id = next.id
    RETURNING s.id),
  stamped AS (
    UPDATE session.devices AS d SET rev = changed.device_rev
      FROM (SELECT DISTINCT next.device_id, head.device_rev FROM next JOIN head USING (user_id)) AS changed
     WHERE d.id = changed.device_id)
SELECT (SELECT count(*) FROM moved)::int AS moved,
       (SELECT coalesce(json_agg(json_build_object('userId', user_id, 'deviceRev', device_rev)), '[]') FROM head) AS changed`;

/** Parameters of MOVE, and runs after it: ends the sessions that lapse now or exceed the limit. */
export const END = `
WITH ${RULE},
  standing AS MATERIALIZED (
    SELECT s.id, s.user_id, s.started_at, rule.max_sessions,
           ${lapsedBecause("s.idle_deadline", "s.absolute_deadline", "$2")} AS lapsed
      FROM session.sessions AS s, rule
     WHERE s.application_id = rule.application_id AND s.policy_version >= rule.version AND s.user_id = ANY ($3::uuid[])
       AND s.state = 'ACTIVE' AND least(s.idle_deadline, s.absolute_deadline) >= $2::timestamptz),
  ${judged},
  target AS MATERIALIZED (
    SELECT judged.id, judged.user_id, 'APPLICATION' AS kind, $1::text AS key, judged.ends AS reason,
           CASE WHEN judged.lapsed IS NULL THEN 'REVOKED' ELSE 'EXPIRED' END AS state
      FROM judged WHERE judged.ends IS NOT NULL),
  head AS (
    UPDATE session.user_heads AS h SET device_rev = h.device_rev + 1
     WHERE h.user_id IN (SELECT target.user_id FROM target)
    RETURNING h.user_id, h.device_rev),
  ${endSessions({ state: "OF_TARGET", now: "$2", actor: "NULL", condition: "true" })}
SELECT json_build_object('IDLE', (SELECT count(*) FROM ended WHERE reason = 'IDLE'),
                         'ABSOLUTE', (SELECT count(*) FROM ended WHERE reason = 'ABSOLUTE'),
                         'EVICTED', (SELECT count(*) FROM ended WHERE reason = 'EVICTED')) AS ended,
       ${LOGGED} AS logged,
       (SELECT coalesce(json_agg(json_build_object('userId', user_id, 'deviceRev', device_rev)), '[]') FROM head) AS changed`;

/** $1 now. */
const APPLICATIONS_BEHIND = `
SELECT rule.application_id AS id FROM session.policies AS rule
 WHERE rule.state = 'ACTIVE'
   AND EXISTS (SELECT FROM session.sessions AS s WHERE ${BEHIND} AND ${isLive("s", "$1::timestamptz")})
 ORDER BY rule.application_id`;

const RULE_COLUMNS = [
  "idle_seconds",
  "absolute_seconds",
  "access_token_seconds",
  "max_sessions",
  "at_limit",
  "required_acr",
  "device_binding",
  "step_up_seconds",
  "persistence",
  "posture",
];

/** $1 application, then the rules. A draft is always the newest version; a replacement takes the next number. */
const DRAFT = `
INSERT INTO session.policies AS p (application_id, version, state, ${RULE_COLUMNS.join(", ")})
SELECT $1, coalesce(max(known.version), 0) + 1, 'DRAFT', ${RULE_COLUMNS.map((_, index) => `$${index + 2}`).join(", ")}
  FROM session.policies AS known WHERE known.application_id = $1
    ON CONFLICT (application_id) WHERE state = 'DRAFT' DO UPDATE
   SET version = EXCLUDED.version, ${RULE_COLUMNS.map((column) => `${column} = EXCLUDED.${column}`).join(", ")}
RETURNING ${policyColumns("p")}`;

const byReason = z.object({ IDLE: z.number(), ABSOLUTE: z.number(), EVICTED: z.number() });
const changed = z.array(z.object({ userId: z.uuid(), deviceRev: z.number() }));
const Moved = z.object({ moved: z.number(), changed });
const Ended = z.object({ ended: byReason, logged: Logged.nullable(), changed });
const percentiles = z.tuple([z.number(), z.number()]).nullable();
const Foreseen = z
  .object({
    exists: z.boolean(),
    sessions: z.number(),
    users: z.number(),
    ends: byReason,
    usersSignedOut: z.number(),
    needStepUp: z.number(),
    before: percentiles,
    after: percentiles,
  })
  .transform(({ before, after, ...counts }) => ({
    ...counts,
    remainingSeconds:
      before === null || after === null
        ? null
        : { median: { from: before[0], to: after[0] }, p95: { from: before[1], to: after[1] } },
  }));

/** Policy versions, and moving sessions to them, in Postgres. */
export function createActivationStore(pool: Pool): ActivationStore {
  return {
    async list(applicationId) {
      const { rows } = await pool.query<Record<string, unknown>>(
        `SELECT ${policyColumns("p")}, p.state, p.activated_at AS "activatedAt" FROM session.policies AS p
          WHERE $1::text IS NULL OR p.application_id = $1 ORDER BY p.application_id, p.version DESC`,
        [applicationId ?? null],
      );
      return rows.map((row) => PolicyVersion.parse(row));
    },

    draft: (applicationId, rules) =>
      inTransaction(pool, async (client) => {
        if (!(await lockApplication(client, applicationId))) return undefined;
        const { rows } = await client.query<Record<string, unknown>>(DRAFT, [
          applicationId,
          rules.idleSeconds,
          rules.absoluteSeconds,
          rules.accessTokenSeconds,
          rules.maxSessions,
          rules.atLimit,
          rules.requiredAcr,
          rules.deviceBinding,
          rules.stepUpSeconds,
          rules.persistence,
          rules.posture,
        ]);
        return Policy.parse(rows[0]);
      }),

    forecast: (applicationId, rules, now) =>
      inTransaction(pool, async (client) => {
        await client.query("SET TRANSACTION READ ONLY");
        const { idleSeconds, absoluteSeconds, maxSessions, requiredAcr, deviceBinding } = rules;
        const { rows } = await client.query<Record<string, unknown>>(FORECAST, [
          applicationId,
          now,
          idleSeconds,
          absoluteSeconds,
          maxSessions,
          requiredAcr,
          deviceBinding,
        ]);
        const { exists, ...foreseen } = Foreseen.parse(rows[0]);
        return exists ? { applicationId, at: now, ...foreseen } : undefined;
      }),

    flip: (applicationId, version, now) =>
      inTransaction(pool, async (client) => {
        if (!(await lockApplication(client, applicationId))) return "NO_SUCH_APPLICATION";
        const { rows } = await client.query<{ state: string }>(
          "SELECT state FROM session.policies WHERE application_id = $1 AND version = $2",
          [applicationId, version],
        );
        const state = rows[0]?.state;
        if (state === undefined) return "NO_SUCH_VERSION";
        if (state === "RETIRED") return "RETIRED";
        if (state === "ACTIVE") return "ALREADY_ACTIVE";
        await client.query(
          "UPDATE session.policies SET state = 'RETIRED' WHERE application_id = $1 AND state = 'ACTIVE'",
          [applicationId],
        );
        await client.query(
          "UPDATE session.policies SET state = 'ACTIVE', activated_at = $3 WHERE application_id = $1 AND version = $2",
          [applicationId, version, now],
        );
        return "ACTIVATED";
      }),

    move: (applicationId, now, sessions) =>
      inTransaction(pool, async (client): Promise<Batch> => {
        // READ COMMITTED: with the heads locked, the statements below see the final state of these users.
        const locked = await client.query<{ userId: string }>({
          name: "lock-behind-policy",
          text: LOCK_BEHIND,
          values: [applicationId, now, sessions],
        });
        const users = locked.rows.map(({ userId }) => userId);
        const first = await client.query<Record<string, unknown>>({
          name: "move-to-policy",
          text: MOVE,
          values: [applicationId, now, users],
        });
        const second = await client.query<Record<string, unknown>>({
          name: "end-by-policy",
          text: END,
          values: [applicationId, now, users],
        });
        const [moved, ended] = [Moved.parse(first.rows[0]), Ended.parse(second.rows[0])];
        const revs = new Map([...moved.changed, ...ended.changed].map(({ userId, deviceRev }) => [userId, deviceRev]));
        return {
          users: users.length,
          moved: moved.moved,
          ended: ended.ended,
          logged: ended.logged,
          changed: [...revs].map(([userId, deviceRev]) => ({ userId, deviceRev })),
        };
      }),

    async behind(now) {
      const { rows } = await pool.query<{ id: string }>({
        name: "applications-behind-policy",
        text: APPLICATIONS_BEHIND,
        values: [now],
      });
      return rows.map(({ id }) => id);
    },
  };
}

/** Serialises changes of an application's policies; sign-ins do not wait for this lock. */
async function lockApplication(client: PoolClient, applicationId: string): Promise<boolean> {
  const { rows } = await client.query("SELECT FROM session.applications WHERE id = $1 FOR NO KEY UPDATE", [
    applicationId,
  ]);
  return rows.length > 0;
}
