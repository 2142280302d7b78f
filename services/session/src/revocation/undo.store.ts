import type { Pool } from "pg";
import { z } from "zod";
import { advancedHead, changeUser, seenHead, type UserChangeRow } from "../database/user-change.ts";
import { isConfidentialSql } from "../application/application.store.ts";
import { isLive } from "../session/session.store.ts";
import { ANYBODY_TOLD, fanOutPayload, fanOutRevocation } from "./fan-out-revocation.jobs.ts";
import { LOGGED } from "./end-sessions.store.ts";
import { Logged } from "./revocation.ts";
import type { UndoOutcome, UndoStore } from "./undo.ts";

/**
 * $1 user, $2 now, $3 seq, $4 since, $5 the asking session. A session is restored with its newest grant only, as its
 * older grants were revoked before it ended. A confidential client's grant is bound to the key that it proved last, not
 * to the device's. Locks are taken in the order of `end-sessions.store.ts`.
 */
const UNDO = `
WITH ${seenHead("$1")},
  entry AS MATERIALIZED (
    SELECT r.* FROM session.revocations AS r
     WHERE r.seq = $3::bigint AND r.user_id = $1::uuid
       AND r.reason = 'SIGNED_OUT_REMOTELY' AND r.restores IS NULL
       AND EXISTS (SELECT FROM session.sessions AS s
                    WHERE s.id = $5::uuid AND s.user_id = $1::uuid AND s.started_at <= r.at
                      AND ${isLive("s", "$2::timestamptz")})),
  verdict AS MATERIALIZED (
    SELECT CASE
             WHEN NOT EXISTS (SELECT FROM entry) THEN 'NOT_FOUND'
             WHEN EXISTS (SELECT FROM session.revocations AS r WHERE r.restores = $3::bigint) THEN 'ALREADY_UNDONE'
             WHEN (SELECT at FROM entry) < $4::timestamptz THEN 'WINDOW_PASSED'
             ELSE 'UNDONE' END AS kind),
  candidate AS MATERIALIZED (
    -- OFFSET 0: asked of each; else those of all live sessions are read, and hashed.
    SELECT s.id, s.device_id, s.application_id, newest.id AS grant_id, p.max_sessions,
           CASE
             WHEN newest.jkt IS NULL
               OR (newest.jkt IS DISTINCT FROM d.jkt AND NOT ${isConfidentialSql("s.application_id")}) THEN 'NO_KEY'
             WHEN least(s.idle_deadline, s.absolute_deadline) <= $2::timestamptz THEN 'EXPIRED'
             WHEN EXISTS (SELECT FROM session.sessions AS again
                           WHERE again.device_id = s.device_id AND again.application_id = s.application_id
                             AND ${isLive("again", "$2::timestamptz")} OFFSET 0) THEN 'SIGNED_IN_AGAIN'
           END AS reason, s.last_active_at
      FROM entry
      JOIN session.sessions AS s ON s.id = ANY (entry.session_ids)
      JOIN session.devices AS d ON d.id = s.device_id
      JOIN session.policies AS p ON p.application_id = s.application_id AND p.version = s.policy_version
      LEFT JOIN LATERAL (
        SELECT g.id, g.jkt FROM session.grants AS g WHERE g.session_id = s.id ORDER BY g.id DESC LIMIT 1) AS newest ON true),
  judged AS MATERIALIZED (
    SELECT c.id, c.device_id, c.grant_id,
           CASE WHEN c.reason IS NULL AND c.max_sessions < row_number() OVER (
                       PARTITION BY c.application_id, c.reason ORDER BY c.last_active_at DESC, c.id DESC)
                     + (SELECT count(*) FROM session.sessions AS s
                         WHERE s.user_id = $1::uuid AND s.application_id = c.application_id
                           AND ${isLive("s", "$2::timestamptz")})
                THEN 'SESSION_LIMIT_REACHED' ELSE c.reason END AS reason
      FROM candidate AS c),
  ${advancedHead("(SELECT kind FROM verdict) = 'UNDONE' AND EXISTS (SELECT FROM judged WHERE reason IS NULL)")},
  restored AS (
    UPDATE session.sessions AS s SET state = 'ACTIVE', ended_at = NULL, end_reason = NULL, ended_by = NULL
      FROM judged, head WHERE s.id = judged.id AND judged.reason IS NULL
    RETURNING s.id, s.device_id),
  stamped AS (
    UPDATE session.devices AS d SET rev = head.device_rev
      FROM head WHERE d.id IN (SELECT restored.device_id FROM restored)),
  granted AS (
    SELECT g.id FROM session.grants AS g
     WHERE g.id IN (SELECT judged.grant_id FROM judged JOIN restored ON restored.id = judged.id)
     ORDER BY g.id FOR UPDATE OF g),
  reopened AS (
    UPDATE session.grants AS g SET state = 'ACTIVE' FROM granted WHERE g.id = granted.id RETURNING g.id),
  log_head AS (
    UPDATE session.revocation_head AS r SET seq = r.seq + 1
      FROM head WHERE r.id = 1 AND (SELECT count(*) FROM reopened) > 0
    RETURNING r.seq),
  logged AS (
    INSERT INTO session.revocations (seq, kind, key, user_id, session_ids, reason, actor_id, at, restores, told_at)
    SELECT log_head.seq, entry.kind, entry.key, entry.user_id, (SELECT array_agg(restored.id) FROM restored), entry.reason,
           $1::uuid, $2::timestamptz, entry.seq, CASE WHEN NOT ${ANYBODY_TOLD} THEN $2::timestamptz END
      FROM log_head, entry
    RETURNING seq, told_at),
  posted AS (
    INSERT INTO session.outbox (id, topic, payload, created_at)
    SELECT gen_random_uuid(), '${fanOutRevocation.name}', ${fanOutPayload("jsonb_build_array(logged.seq)")}, $2::timestamptz
      FROM logged WHERE ${ANYBODY_TOLD}),
  noted AS (
    INSERT INTO session.auth_events (user_id, at, type, session_id, device_id, actor_id, detail)
    SELECT $1::uuid, $2::timestamptz, 'SESSIONS_RESTORED', restored.id, restored.device_id, $1::uuid,
           jsonb_build_object('seq', logged.seq, 'restores', $3::bigint)
      FROM restored, logged ORDER BY restored.id)
SELECT verdict.kind,
       verdict.kind = 'UNDONE' AND EXISTS (SELECT FROM judged WHERE reason IS NULL) AND NOT EXISTS (SELECT FROM head) AS moved,
       ${LOGGED} AS logged,
       (SELECT device_rev FROM head) AS "deviceRev",
       (SELECT coalesce(json_agg(json_build_object('sessionId', id, 'deviceId', device_id, 'reason', reason) ORDER BY id), '[]')
          FROM judged) AS sessions
  FROM verdict`;

interface UndoRow extends UserChangeRow {
  readonly kind: UndoOutcome["kind"];
  readonly logged: unknown;
  readonly deviceRev: string | null;
  readonly sessions: unknown;
}

const Sessions = z.array(
  z.object({
    sessionId: z.uuid(),
    deviceId: z.uuid(),
    reason: z.enum(["NO_KEY", "EXPIRED", "SIGNED_IN_AGAIN", "SESSION_LIMIT_REACHED"]).nullable(),
  }),
);

/** Undoing sign-outs in Postgres. */
export function createUndoStore(pool: Pool): UndoStore {
  return {
    async undo({ userId, sessionId, seq, since, now }) {
      const row = await changeUser<UndoRow>(pool, userId, {
        name: "undo-sign-out",
        text: UNDO,
        values: [userId, now, seq, since, sessionId],
      });
      if (row.kind !== "UNDONE") return { kind: row.kind };
      return {
        kind: "UNDONE",
        logged: Logged.nullable().parse(row.logged),
        deviceRev: row.deviceRev === null ? null : Number(row.deviceRev),
        sessions: Sessions.parse(row.sessions),
      };
    },
  };
}
