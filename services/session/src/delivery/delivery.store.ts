import type { Pool } from "pg";
import { z } from "zod";
import type { Attempt, DeliveryStore, Target } from "./delivery.ts";
import { sealedSecrets } from "../webhook/webhook.store.ts";
import { deliverNotice } from "./deliver-notice.jobs.ts";

/** $1 seq, $2 recipient, $3 attempts. */
const PENDING = `
SELECT d.seq, d.recipient, d.attempts, r.restores IS NOT NULL AS restored, r.user_id AS "userId", r.reason, r.at,
       (SELECT coalesce(json_agg(json_build_object('id', s.id, 'deviceId', s.device_id, 'applicationId', s.application_id)
                                 ORDER BY s.id), '[]')
          FROM session.sessions AS s
         WHERE s.id = ANY (r.session_ids) AND s.application_id = coalesce(w.application_id, s.application_id)) AS sessions,
       w.id AS "webhookId", w.url AS "webhookUrl", ${sealedSecrets("w")} AS "sealedSecrets",
       l.id AS "logoutId", a.backchannel_logout_uri AS "logoutUrl",
       EXISTS (SELECT FROM session.revocations AS u WHERE u.restores = r.seq AND l.id = ANY (u.session_ids)) AS "takenBack"
  FROM session.revocation_deliveries AS d
  JOIN session.revocations AS r ON r.seq = d.seq
  LEFT JOIN session.webhooks AS w
    ON w.id = CASE WHEN d.recipient LIKE 'webhook:%' THEN substr(d.recipient, 9)::uuid END AND w.disabled_at IS NULL
  LEFT JOIN session.sessions AS l ON l.id = CASE WHEN d.recipient LIKE 'logout:%' THEN substr(d.recipient, 8)::uuid END
  LEFT JOIN session.applications AS a ON a.id = l.application_id
 WHERE d.seq = $1::bigint AND d.recipient = $2 AND d.attempts = $3
   AND d.due_at IS NOT NULL`;

/** $1 seq, $2 recipient, $3 attempts: matches the row only while it is unsettled. */
const UNSETTLED = `seq = $1::bigint AND recipient = $2 AND attempts = $3::int AND due_at IS NOT NULL`;

/** $4 now. */
const DELIVERED = `
UPDATE session.revocation_deliveries
   SET delivered_at = $4, due_at = NULL, attempts = attempts + 1, last_error = NULL WHERE ${UNSETTLED}`;

/** $4 delay in ms. Uses the database's clock, as the outbox relay does. */
const DUE = `now() + $4::int * interval '1 millisecond'`;

/** Posts the next attempt from the CTE `noted (seq, recipient, attempts, due_at)`. */
const POST_NEXT = `
INSERT INTO session.outbox (id, topic, payload, due_at)
SELECT gen_random_uuid(), '${deliverNotice.name}',
       jsonb_build_object('seq', noted.seq, 'recipient', noted.recipient, 'attempts', noted.attempts),
       noted.due_at
  FROM noted`;

/** $5 error. */
const RETRY_IN = `
WITH noted AS (
  UPDATE session.revocation_deliveries SET due_at = ${DUE}, attempts = attempts + 1, last_error = $5 WHERE ${UNSETTLED}
  RETURNING seq, recipient, attempts, due_at)
${POST_NEXT}`;

const POSTPONE = `
WITH noted AS (
  UPDATE session.revocation_deliveries SET due_at = ${DUE} WHERE ${UNSETTLED} RETURNING seq, recipient, attempts, due_at)
${POST_NEXT}`;

/** $4 now, $5 error. */
const FAILED = `
UPDATE session.revocation_deliveries
   SET failed_at = $4, due_at = NULL, attempts = attempts + 1, last_error = $5 WHERE ${UNSETTLED}`;

const DROP = `DELETE FROM session.revocation_deliveries WHERE ${UNSETTLED}`;

/** $4 now. */
const GONE = `
WITH disabled AS (
  UPDATE session.webhooks AS w SET disabled_at = $4
    FROM session.revocation_deliveries
   WHERE ${UNSETTLED} AND recipient = 'webhook:' || w.id AND w.disabled_at IS NULL
  RETURNING w.id)
DELETE FROM session.revocation_deliveries AS d USING disabled
 WHERE d.recipient = 'webhook:' || disabled.id AND d.delivered_at IS NULL`;

const Session = z.object({ id: z.uuid(), deviceId: z.uuid(), applicationId: z.string() });
const Row = z.object({
  seq: z.coerce.number(),
  recipient: z.string(),
  attempts: z.number(),
  restored: z.boolean(),
  userId: z.uuid(),
  reason: z.string(),
  at: z.date(),
  sessions: z.array(Session),
  webhookId: z.uuid().nullable(),
  webhookUrl: z.string().nullable(),
  sealedSecrets: z.array(z.instanceof(Uint8Array)),
  logoutId: z.uuid().nullable(),
  logoutUrl: z.string().nullable(),
  takenBack: z.boolean(),
});

/** Deliveries in Postgres. */
export function createDeliveryStore(pool: Pool): DeliveryStore {
  const run = async (
    name: string,
    text: string,
    { seq, recipient, attempts }: Attempt,
    more: unknown[],
  ): Promise<void> => {
    await pool.query({ name, text, values: [seq, recipient, attempts, ...more] });
  };

  return {
    async pending({ seq, recipient, attempts }) {
      const { rows } = await pool.query<Record<string, unknown>>({
        name: "pending-delivery",
        text: PENDING,
        values: [seq, recipient, attempts],
      });
      if (rows[0] === undefined) return undefined;
      const row = Row.parse(rows[0]);
      return { ...row, target: targetOf(row) };
    },

    delivered: (attempt, now) => run("delivery-made", DELIVERED, attempt, [now]),
    retryIn: (attempt, delayMs, error) => run("delivery-retry", RETRY_IN, attempt, [delayMs, error]),
    postpone: (attempt, delayMs) => run("delivery-postponed", POSTPONE, attempt, [delayMs]),
    failed: (attempt, error, now) => run("delivery-failed", FAILED, attempt, [now, error]),
    drop: (attempt) => run("delivery-dropped", DROP, attempt, []),
    gone: (attempt, now) => run("delivery-gone", GONE, attempt, [now]),
  };
}

function targetOf(row: z.infer<typeof Row>): Target {
  const { webhookId, webhookUrl, sealedSecrets: secrets, logoutUrl, takenBack, sessions, logoutId } = row;
  if (webhookId !== null && webhookUrl !== null) {
    return { kind: "WEBHOOK", id: webhookId, url: webhookUrl, sealedSecrets: secrets };
  }
  if (takenBack) return { kind: "NOBODY" };
  const session = sessions.find(({ id }) => id === logoutId);
  if (session === undefined || logoutUrl === null) return { kind: "NOBODY" };
  return { kind: "LOGOUT", session, url: logoutUrl };
}
