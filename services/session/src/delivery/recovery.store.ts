import type { Pool } from "pg";
import { z } from "zod";
import { fanOutPayload, fanOutRevocation } from "../revocation/fan-out-revocation.jobs.ts";
import { deliverNotice } from "./deliver-notice.jobs.ts";
import type { RecoveryStore } from "./recover-deliveries.jobs.ts";

const BATCH = 1_000;

/** Outbox rows that still wait, for example during a queue outage, or were handed over after $1. */
const posted = (topic: string): string =>
  `session.outbox AS o WHERE o.topic = '${topic}' AND (o.enqueued_at IS NULL OR o.enqueued_at > $1)`;

const ATTEMPT = "jsonb_build_object('seq', d.seq, 'recipient', d.recipient, 'attempts', d.attempts)";

/** $1 recover what was due before this time. */
const RECOVER = `
WITH entry AS MATERIALIZED (
    SELECT r.seq FROM session.revocations AS r
     WHERE r.told_at IS NULL AND r.user_id IS NOT NULL AND r.at < $1
       AND r.seq NOT IN (SELECT jsonb_array_elements(o.payload -> 'seqs')::bigint FROM ${posted(fanOutRevocation.name)})
     ORDER BY r.at LIMIT ${BATCH}),
  attempt AS (
    SELECT ${ATTEMPT} AS payload FROM session.revocation_deliveries AS d
     WHERE d.due_at < $1 AND NOT EXISTS (SELECT FROM ${posted(deliverNotice.name)} AND o.payload = ${ATTEMPT})
     ORDER BY d.due_at LIMIT ${BATCH}),
  entries AS (
    INSERT INTO session.outbox (id, topic, payload)
    SELECT gen_random_uuid(), '${fanOutRevocation.name}', ${fanOutPayload("jsonb_agg(entry.seq ORDER BY entry.seq)")}
      FROM entry HAVING count(*) > 0),
  attempts AS (
    INSERT INTO session.outbox (id, topic, payload)
    SELECT gen_random_uuid(), '${deliverNotice.name}', attempt.payload FROM attempt RETURNING id)
SELECT (SELECT count(*) FROM entry) AS revocations, (SELECT count(*) FROM attempts) AS deliveries`;

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
