import type { Pool } from "pg";
import { z } from "zod";
import { deliverNotice } from "../delivery/deliver-notice.jobs.ts";
import { lockedHeads } from "../database/user-change.ts";
import { EndedBatch, endedBatch, endSessions } from "./end-sessions.store.ts";
import type { ExpiryStore } from "./expire-sessions.jobs.ts";
import type { FanOutStore } from "./fan-out-revocation.jobs.ts";

const hasLapsed = (now: string): string => `least(s.idle_deadline, s.absolute_deadline) <= ${now}::timestamptz`;

/** $1 now, $2 limit of sessions. Checks the deadline again under the lock, as activity may have moved it meanwhile. */
const EXPIRE = `
WITH lapsed AS MATERIALIZED (
    SELECT s.id, s.user_id,
           CASE WHEN s.idle_deadline < s.absolute_deadline THEN 'IDLE' ELSE 'ABSOLUTE' END AS reason
      FROM session.sessions AS s
     WHERE s.state = 'ACTIVE' AND ${hasLapsed("$1")}
     ORDER BY least(s.idle_deadline, s.absolute_deadline)
     LIMIT $2::int),
  ${lockedHeads("SELECT lapsed.user_id FROM lapsed", "LEAVE")},
  target AS (
    SELECT lapsed.id, lapsed.user_id, 'SESSION' AS kind, lapsed.id::text AS key, lapsed.reason FROM lapsed),
  ${endSessions({ state: "EXPIRED", now: "$1", actor: "NULL", condition: hasLapsed("$1") })}
${endedBatch("lapsed")}`;

/**
 * $1 seqs, $2 now. Each HTTP recipient gets a delivery row and, in the same transaction, a job of its own. Back-channel
 * logout has one recipient per ended session, however many ended at once.
 */
const DELIVER = `
WITH entry AS MATERIALIZED (
    SELECT r.seq FROM session.revocations AS r
     WHERE r.seq = ANY ($1::bigint[]) AND r.user_id IS NOT NULL ORDER BY r.seq FOR UPDATE),
  told AS (
    UPDATE session.revocations AS r
       SET told_at = coalesce(r.told_at, $2::timestamptz)
      FROM entry WHERE r.seq = entry.seq
    RETURNING r.seq, r.user_id, r.session_ids, r.restores),
  concerned AS MATERIALIZED (
    SELECT told.seq, told.restores, s.id, s.application_id
      FROM told JOIN session.sessions AS s ON s.id = ANY (told.session_ids)),
  addressed AS (
    INSERT INTO session.revocation_deliveries (seq, recipient, created_at, due_at)
    SELECT told.seq, 'webhook:' || w.id, $2::timestamptz, $2::timestamptz
      FROM told, session.webhooks AS w
     WHERE w.disabled_at IS NULL
       AND (w.application_id IS NULL
            OR EXISTS (SELECT FROM concerned WHERE concerned.seq = told.seq AND concerned.application_id = w.application_id))
     UNION ALL
    SELECT concerned.seq, 'logout:' || concerned.id, $2::timestamptz, $2::timestamptz
      FROM concerned JOIN session.applications AS a ON a.id = concerned.application_id
     WHERE concerned.restores IS NULL AND a.backchannel_logout_uri IS NOT NULL
        ON CONFLICT DO NOTHING
    RETURNING seq, recipient),
  posted AS (
    INSERT INTO session.outbox (id, topic, payload, created_at)
    SELECT gen_random_uuid(), '${deliverNotice.name}',
           jsonb_build_object('seq', seq, 'recipient', recipient, 'attempts', 0), $2::timestamptz
      FROM addressed)
SELECT told.seq, told.user_id AS "userId", h.device_rev AS "deviceRev",
       (SELECT count(*) FROM addressed WHERE addressed.seq = told.seq) AS posted
  FROM told JOIN session.user_heads AS h ON h.user_id = told.user_id`;

const ToldRow = z.object({
  seq: z.coerce.number(),
  userId: z.uuid(),
  deviceRev: z.coerce.number(),
  posted: z.coerce.number(),
});

/** The store of the revocation jobs, in Postgres. */
export function createRevocationJobsStore(pool: Pool): ExpiryStore & FanOutStore {
  return {
    async expire(now, count) {
      const { rows } = await pool.query<Record<string, unknown>>({
        name: "expire-sessions",
        text: EXPIRE,
        values: [now, count],
      });
      return EndedBatch.parse(rows[0]);
    },

    async deliver(seqs, now) {
      const { rows } = await pool.query<Record<string, unknown>>({
        name: "deliver-revocation",
        text: DELIVER,
        values: [seqs, now],
      });
      return z.array(ToldRow).parse(rows);
    },
  };
}
