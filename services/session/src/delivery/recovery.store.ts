import type { Pool } from "pg";
import { z } from "zod";
import { fanOutPayload, fanOutRevocation } from "../revocation/fan-out-revocation.jobs.ts";
import { deliverNotice } from "./deliver-notice.jobs.ts";
import type { RecoveryStore } from "./recover-deliveries.jobs.ts";

const BATCH = 1_000;

/** No row of the outbox waits with `payload`, as one does while no queue takes it, and none was handed over since $1. */
const nothingPosted = (topic: string, payload: string): string => `NOT EXISTS (
  SELECT FROM session.outbox AS o
   WHERE o.topic = '${topic}' AND o.payload = ${payload} AND (o.enqueued_at IS NULL OR o.enqueued_at > $1))`;

const post = (topic: string, from: string): string => `
  INSERT INTO session.outbox (id, topic, payload)
  SELECT gen_random_uuid(), '${topic}', ${from}.payload FROM ${from} RETURNING id`;

const ENTRY = fanOutPayload("r.seq");
const ATTEMPT = "jsonb_build_object('seq', d.seq, 'recipient', d.recipient, 'attempts', d.attempts)";

/** $1 what was due before. */
const RECOVER = `
WITH entry AS (
    SELECT ${ENTRY} AS payload FROM session.revocations AS r
     WHERE r.told_at IS NULL AND r.user_id IS NOT NULL AND r.at < $1
       AND ${nothingPosted(fanOutRevocation.name, ENTRY)}
     ORDER BY r.at LIMIT ${BATCH}),
  attempt AS (
    SELECT ${ATTEMPT} AS payload FROM session.revocation_deliveries AS d
     WHERE d.due_at < $1 AND ${nothingPosted(deliverNotice.name, ATTEMPT)}
     ORDER BY d.due_at LIMIT ${BATCH}),
  entries AS (${post(fanOutRevocation.name, "entry")}),
  attempts AS (${post(deliverNotice.name, "attempt")})
SELECT (SELECT count(*) FROM entries) AS revocations, (SELECT count(*) FROM attempts) AS deliveries`;

const Recovered = z.object({ revocations: z.coerce.number(), deliveries: z.coerce.number() });

/** Recovery in Postgres. */
export function createRecoveryStore(pool: Pool): RecoveryStore {
  return {
    async recover(overdue) {
      const { rows } = await pool.query({ name: "recover-deliveries", text: RECOVER, values: [overdue] });
      return Recovered.parse(rows[0]);
    },
  };
}
