/**
 * The one way to end sessions, as SQL: by a person, at the policy's limit, after refresh token reuse, at a deadline. A
 * statement that ends sessions selects them in a CTE `target (id, user_id, kind, key, reason)`, advances their users'
 * heads in a CTE `head (user_id, device_rev)`, and continues with `endSessions`.
 *
 * Locks are taken in one order, which rules out deadlocks: users' heads (by user id), then their sessions and devices
 * (which only the holder of the head lock changes), grants (by id), and last the head of the revocation log.
 */
import { z } from "zod";
import { ANYBODY_TOLD, fanOutPayload, fanOutRevocation } from "./fan-out-revocation.jobs.ts";
import { Logged } from "./revocation.ts";

/** SQL expressions for the values: parameters such as `$4`, or literals. */
export interface EndSessionsSql {
  /** `OF_TARGET` takes the state from the column `state` of `target`. */
  readonly state: "REVOKED" | "EXPIRED" | "OF_TARGET";
  readonly now: string;
  /** uuid or null: the user who did it; a parameter, or a column of `target`. */
  readonly actor: string;
  /** A condition on session `s`, checked again once its row is locked. */
  readonly condition: string;
  /**
   * A device that the statement stamps itself, as one statement must not update a row twice. An expression; default
   * none.
   */
  readonly exceptDevice?: string;
}

/**
 * CTEs from `ended` on. The statement itself may use `logged (seq, user_id, session_ids, told_at)`, one row per
 * revocation. `seq` comes from the single head row, locked until the commit, so no reader of the log sees a number
 * before all lower ones.
 */
export function endSessions({ state, now, actor, condition, exceptDevice = "NULL" }: EndSessionsSql): string {
  return `
  ended AS (
    -- IS TRUE: by the id alone; else all that live may be read.
    UPDATE session.sessions AS s
       SET state = ${state === "OF_TARGET" ? "target.state" : `'${state}'`}, ended_at = ${now}::timestamptz, end_reason = target.reason, ended_by = ${actor}::uuid
      FROM target JOIN head ON head.user_id = target.user_id
     WHERE s.id = target.id AND (s.ended_at IS NULL AND ${condition}) IS TRUE
    RETURNING s.id, s.user_id, s.device_id, s.ended_by AS actor_id, target.kind, target.key, target.reason, head.device_rev),
  stamped AS (
    UPDATE session.devices AS d SET rev = changed.device_rev
      FROM (SELECT DISTINCT device_id, device_rev FROM ended) AS changed
     WHERE d.id = changed.device_id AND d.id IS DISTINCT FROM (${exceptDevice})
    RETURNING d.id),
  granted AS (
    SELECT g.id FROM session.grants AS g JOIN ended ON ended.id = g.session_id ORDER BY g.id FOR UPDATE OF g),
  closed AS (
    UPDATE session.grants AS g SET state = 'REVOKED' FROM granted WHERE g.id = granted.id RETURNING g.session_id),
  entry AS (
    SELECT ended.user_id, ended.actor_id, ended.kind, ended.key, ended.reason, array_agg(DISTINCT ended.id) AS session_ids,
           row_number() OVER (ORDER BY ended.user_id, ended.kind, ended.key) AS place
      FROM ended LEFT JOIN closed ON closed.session_id = ended.id
     GROUP BY ended.user_id, ended.actor_id, ended.kind, ended.key, ended.reason),
  log_head AS (
    UPDATE session.revocation_head AS r SET seq = r.seq + added.count
      FROM (SELECT count(*) FROM entry) AS added
     WHERE r.id = 1 AND added.count > 0
    RETURNING r.seq - added.count AS before),
  logged AS (
    INSERT INTO session.revocations (seq, kind, key, user_id, session_ids, reason, actor_id, at, told_at)
    SELECT log_head.before + entry.place, entry.kind, entry.key, entry.user_id, entry.session_ids, entry.reason,
           entry.actor_id, ${now}::timestamptz, CASE WHEN NOT ${ANYBODY_TOLD} THEN ${now}::timestamptz END
      FROM entry, log_head
    RETURNING seq, user_id, session_ids, told_at),
  posted AS (
    INSERT INTO session.outbox (id, topic, payload, created_at)
    SELECT gen_random_uuid(), '${fanOutRevocation.name}',
           ${fanOutPayload("jsonb_agg(log_head.before + entry.place ORDER BY entry.place)")}, ${now}::timestamptz
      FROM entry, log_head
     WHERE ${ANYBODY_TOLD}
    HAVING count(*) > 0),
  noted AS (
    INSERT INTO session.auth_events (user_id, at, type, session_id, device_id, actor_id, detail)
    SELECT ended.user_id, ${now}::timestamptz, 'SESSION_ENDED', ended.id, ended.device_id, ended.actor_id,
           jsonb_build_object('reason', ended.reason, 'seq', log_head.before + entry.place)
      FROM ended JOIN entry USING (user_id, kind, key, reason) CROSS JOIN log_head
     ORDER BY ended.user_id, ended.id)`;
}

/** What the CTE `logged` wrote, as JSON for `Logged`; null when it wrote nothing. */
export const LOGGED =
  "(SELECT json_build_object('seq', max(seq), 'posted', bool_or(told_at IS NULL)) FROM logged HAVING count(*) > 0)";

/** The result of a statement that ended what it could of the CTE `from`; parsed by `EndedBatch`. */
export const endedBatch = (from: string): string => `
SELECT (SELECT count(*) FROM ${from}) AS found, (SELECT count(*) FROM ended) AS ended, ${LOGGED} AS logged,
       (SELECT coalesce(json_agg(DISTINCT jsonb_build_object('userId', user_id, 'deviceRev', device_rev)), '[]')
          FROM ended) AS users`;

/** How many sessions were found and ended, and the affected users with their device revisions. */
export const EndedBatch = z.object({
  found: z.coerce.number(),
  ended: z.coerce.number(),
  logged: Logged.nullable(),
  users: z.array(z.object({ userId: z.uuid(), deviceRev: z.number() })),
});
