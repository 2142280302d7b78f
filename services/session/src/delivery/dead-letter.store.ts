import type { Pool } from "pg";
import { z } from "zod";
import { type DeadLetterFilter, type DeadLetterStore, DeliveryRecord } from "./dead-letter.ts";
import { deliverNotice } from "./deliver-notice.jobs.ts";

/** $1 recipient, $2 seq, $3 pending ones too. */
const CHOSEN = `
       (d.failed_at IS NOT NULL OR ($3::boolean AND d.due_at IS NOT NULL))
   AND ($1::text IS NULL OR d.recipient = $1) AND ($2::bigint IS NULL OR d.seq = $2)`;

/** $4 limit. */
export const LIST = `
SELECT d.seq, d.recipient, d.created_at AS "createdAt", d.attempts, d.last_error AS "lastError",
       d.failed_at AS "failedAt", d.due_at AS "dueAt"
  FROM session.revocation_deliveries AS d
 WHERE ${CHOSEN}
 ORDER BY d.seq, d.recipient LIMIT $4`;

/** May deliver twice what was already under way: receivers recognise a repeat by its id. */
const RETRY = `
WITH chosen AS (
  UPDATE session.revocation_deliveries AS d SET failed_at = NULL, due_at = now(), attempts = 0 WHERE ${CHOSEN}
  RETURNING d.seq, d.recipient, d.attempts)
INSERT INTO session.outbox (id, topic, payload)
SELECT gen_random_uuid(), '${deliverNotice.name}',
       jsonb_build_object('seq', seq, 'recipient', recipient, 'attempts', attempts)
  FROM chosen`;

const values = ({ recipient, seq, pending }: DeadLetterFilter): unknown[] => [
  recipient ?? null,
  seq ?? null,
  pending ?? false,
];

/** Dead letters in Postgres. */
export function createDeadLetterStore(pool: Pool): DeadLetterStore {
  return {
    async list(filter, limit) {
      const { rows } = await pool.query(LIST, [...values(filter), limit]);
      return z.array(DeliveryRecord).parse(rows);
    },
    async count(filter) {
      const { rows } = await pool.query<{ count: number }>(
        `SELECT count(*)::int AS count FROM session.revocation_deliveries AS d WHERE ${CHOSEN}`,
        values(filter),
      );
      return rows[0]?.count ?? 0;
    },
    async retry(filter) {
      return (await pool.query(RETRY, values(filter))).rowCount ?? 0;
    },
  };
}
