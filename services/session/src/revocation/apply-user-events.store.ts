import type { Pool } from "pg";
import { z } from "zod";
import { changeUser, seenHead, type UserChangeRow } from "../database/user-change.ts";
import { isLive } from "../session/session.store.ts";
import { endSessions, LOGGED } from "./end-sessions.store.ts";
import type { ApplyUserEventsStore } from "./apply-user-events.jobs.ts";
import { Logged } from "./revocation.ts";

/**
 * $1 user, $2 now, $3 epoch, $4 reason (null ends no session), $5 event type. Creates a missing head, so that late
 * sign-ins are refused.
 */
const END = `
WITH ${seenHead("$1")},
  target AS MATERIALIZED (
    SELECT s.id, s.user_id, 'USER' AS kind, s.user_id::text AS key, $4::text AS reason
      FROM session.sessions AS s
     WHERE s.user_id = $1::uuid AND s.sign_in_epoch < $3::int AND $4::text IS NOT NULL AND ${isLive("s", "$2::timestamptz")}),
  due AS MATERIALIZED (
    SELECT CASE WHEN $4::text IS NULL THEN heard = $3::int - 1 ELSE heard < $3::int END AS is_due
      FROM (SELECT coalesce((SELECT sign_in_epoch FROM seen), 0) AS heard) AS head),
  head AS (
    INSERT INTO session.user_heads AS h (user_id, epoch, device_rev, sign_in_epoch)
    SELECT $1::uuid, ($4::text IS NOT NULL)::int, 1, $3::int FROM due WHERE is_due
        ON CONFLICT (user_id) DO UPDATE
       SET device_rev = h.device_rev + 1, epoch = h.epoch + EXCLUDED.epoch, sign_in_epoch = EXCLUDED.sign_in_epoch
     WHERE h.device_rev = (SELECT device_rev FROM seen)
    RETURNING h.user_id, h.device_rev),
  ${endSessions({ state: "REVOKED", now: "$2", actor: "NULL", condition: "true" })},
  audited AS (
    INSERT INTO session.auth_events (user_id, at, type, actor_id)
    SELECT head.user_id, $2::timestamptz, event.type, CASE event.type WHEN 'PASSWORD_CHANGED' THEN head.user_id END
      FROM head
     CROSS JOIN LATERAL (VALUES
       (1, 'USER_DISABLED', $5::text = 'USER_ENABLED' AND coalesce((SELECT sign_in_epoch FROM seen), 0) < $3::int - 1),
       (2, $5::text, true)) AS event (place, type, is_new)
     WHERE event.is_new ORDER BY event.place)
SELECT due.is_due AND head.user_id IS NULL AS moved, due.is_due AS "isDue", head.device_rev AS "deviceRev",
       ${LOGGED} AS logged, (SELECT count(*) FROM ended) AS sessions
  FROM due LEFT JOIN head ON true`;

interface EndRow extends UserChangeRow {
  readonly isDue: boolean;
}

const Ended = z.object({
  deviceRev: z.coerce.number(),
  sessions: z.coerce.number(),
  logged: Logged.nullable(),
});

/** Applies user events in Postgres. */
export function createApplyUserEventsStore(pool: Pool): ApplyUserEventsStore {
  return {
    async end({ userId, epoch, type, reason, now }) {
      const row = await changeUser<EndRow>(pool, userId, {
        name: "apply-user-events",
        text: END,
        values: [userId, now, epoch, reason, type],
      });
      return row.isDue ? Ended.parse(row) : undefined;
    },
  };
}
