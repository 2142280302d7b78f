import { inTransaction } from "@continuo/database";
import type { Pool, PoolClient } from "pg";
import { z } from "zod";
import { EventRecord, type ChainEnds } from "./chain.ts";
import { SecurityEvent, type AuditStore, type StoredLink } from "./security-event.ts";

/** $1 user, $2 limit, $3 only events before this seq, or null. */
const PAGE = `
SELECT c.seq - c.base_seq AS "totalCount", found.*
  FROM session.auth_chains AS c
  LEFT JOIN LATERAL (
    SELECT e.user_id AS "userId", e.seq, e.at, e.type, e.session_id AS "sessionId", e.device_id AS "deviceId",
           e.actor_id AS "actorId", e.detail, e.hash
      FROM session.auth_events AS e
     WHERE e.user_id = c.user_id AND e.seq < coalesce($3::bigint, 9223372036854775807)
     ORDER BY e.seq DESC LIMIT $2) AS found ON true
 WHERE c.user_id = $1
 ORDER BY found.seq DESC`;

/** $1 users. */
const ENDS = `
SELECT c.user_id AS "userId", c.seq, c.hash, c.base_seq AS "baseSeq", c.base_hash AS "baseHash"
  FROM session.auth_chains AS c WHERE c.user_id = ANY ($1::uuid[])`;

/** $1 and $2 user and seq to start after, $3 and $4 user and seq to end at, $5 limit. */
const LINKS = `
SELECT e.seq, e.record, e.hash, e.user_id AS "userId",
       to_char(e.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS at, e.type, e.session_id AS "sessionId",
       e.device_id AS "deviceId", e.actor_id AS "actorId", e.detail
  FROM session.auth_events AS e
 WHERE (e.user_id, e.seq) > ($1::uuid, $2::bigint) AND (e.user_id, e.seq) <= ($3::uuid, $4::bigint)
 ORDER BY e.user_id, e.seq LIMIT $5`;

/** $1 after, $2 limit. Skips through the index from one user's first event to the next user's. */
const USERS = `
WITH RECURSIVE with_events AS (
    (SELECT e.user_id, 1 AS place FROM session.auth_events AS e
      WHERE $1::uuid IS NULL OR e.user_id > $1 ORDER BY e.user_id LIMIT 1)
     UNION ALL
    SELECT (SELECT e.user_id FROM session.auth_events AS e WHERE e.user_id > w.user_id ORDER BY e.user_id LIMIT 1), w.place + 1
      FROM with_events AS w WHERE w.user_id IS NOT NULL AND w.place < $2),
  with_chain AS (
    SELECT c.user_id FROM session.auth_chains AS c
     WHERE $1::uuid IS NULL OR c.user_id > $1 ORDER BY c.user_id LIMIT $2)
SELECT user_id AS "userId" FROM with_events WHERE user_id IS NOT NULL
 UNION SELECT user_id FROM with_chain
 ORDER BY 1 LIMIT $2`;

const Total = z.object({ totalCount: z.coerce.number() });
const Ends = z.object({
  userId: z.uuid(),
  seq: z.coerce.number(),
  hash: z.instanceof(Buffer),
  baseSeq: z.coerce.number(),
  baseHash: z.instanceof(Buffer),
});
const LinkRow = EventRecord.extend({
  seq: z.coerce.number(),
  record: z.string(),
  hash: z.instanceof(Buffer),
});

type Reads = Pick<AuditStore, "ends" | "links">;

/** Security events in Postgres. */
export function createAuditStore(pool: Pool): AuditStore {
  return {
    ...readsOn(pool),

    async page(userId, first, before) {
      const { rows } = await pool.query<Record<string, unknown>>({
        name: "security-events",
        text: PAGE,
        values: [userId, first + 1, before],
      });
      const events = rows.filter((row) => row["seq"] !== null).map((row) => SecurityEvent.parse(row));
      return {
        totalCount: rows[0] === undefined ? 0 : Total.parse(rows[0]).totalCount,
        hasNextPage: events.length > first,
        events: events.slice(0, first),
      };
    },

    async users(after, limit) {
      const { rows } = await pool.query<{ userId: string }>(USERS, [after, limit]);
      return rows.map(({ userId }) => userId);
    },

    async countUsers() {
      const { rows } = await pool.query<{ count: string }>("SELECT count(*) AS count FROM session.auth_chains");
      return Number(rows[0]?.count ?? 0);
    },

    snapshot: (work) =>
      inTransaction(pool, async (client) => {
        await client.query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY");
        return work(readsOn(client));
      }),
  };
}

function readsOn(connection: Pool | PoolClient): Reads {
  return {
    async ends(userIds): Promise<ChainEnds[]> {
      const { rows } = await connection.query<Record<string, unknown>>({
        name: "chain-ends",
        text: ENDS,
        values: [userIds],
      });
      return rows.map((row) => {
        const { userId, seq, hash, baseSeq, baseHash } = Ends.parse(row);
        return { userId, base: { seq: baseSeq, hash: baseHash }, head: { seq, hash } };
      });
    },

    async links({ after, last }, limit): Promise<StoredLink[]> {
      const { rows } = await connection.query<Record<string, unknown>>({
        name: "chain-links",
        text: LINKS,
        values: [after.userId, after.seq, last.userId, last.seq, limit],
      });
      return rows.map((row) => {
        const { record, hash, ...columns } = LinkRow.parse(row);
        return { userId: columns.userId, seq: columns.seq, record, hash, columns };
      });
    },
  };
}
