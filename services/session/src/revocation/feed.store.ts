import type { Pool } from "pg";
import { z } from "zod";
import { lockedHeads } from "../database/user-change.ts";
import { FeedReason, type FeedStore } from "./feed.ts";

const PAGE = 1_000;

/**
 * A page also ends after about this many sessions, to bound the answer to a gateway that starts anew. The first entry
 * always fits.
 */
const PAGE_SESSIONS = 50_000;

/** A replica's row is written at most this often. Milliseconds; well below the time after which it counts as silent. */
const HEARD_EVERY_MS = 2_000;

/**
 * $1 replica, $2 seqs, $3 sockets closed, $4 now. Heads are locked by user id, as everywhere. OFFSET 0 forces reading
 * sessions by id.
 */
const ACKNOWLEDGE = `
WITH fresh AS (
    INSERT INTO session.revocation_acks (seq, replica, at, sockets_closed)
    SELECT r.seq, $1, $4::timestamptz, max(given.sockets_closed)
      FROM unnest($2::bigint[], $3::int[]) AS given (seq, sockets_closed)
      JOIN session.revocations AS r ON r.seq = given.seq
     GROUP BY r.seq
        ON CONFLICT DO NOTHING
    RETURNING seq),
  concerned AS (
    SELECT DISTINCT s.user_id, s.device_id
      FROM fresh JOIN session.revocations AS r ON r.seq = fresh.seq
     CROSS JOIN LATERAL (
       SELECT s.user_id, s.device_id FROM session.sessions AS s WHERE s.id = ANY (r.session_ids) OFFSET 0) AS s),
  ${lockedHeads("SELECT concerned.user_id FROM concerned")},
  stamped AS (
    UPDATE session.devices AS d SET rev = head.device_rev
      FROM concerned JOIN head ON head.user_id = concerned.user_id
     WHERE d.id = concerned.device_id)
SELECT user_id AS "userId", device_rev AS "deviceRev" FROM head`;

/**
 * $1 replica, $2 now, $3 where `from` begins, then what `continues` needs. One snapshot, so the head is never behind
 * the page. Skips the upsert when the replica was heard of recently: even an upsert that changes nothing locks the row,
 * and a read without writes does not wait for the disk.
 */
const readPage = (from: string, continues: string): string => `
WITH heard AS (
    INSERT INTO session.gateway_replicas AS g (name, heard_at)
    SELECT $1, $2::timestamptz
     WHERE NOT EXISTS (SELECT FROM session.gateway_replicas AS known
                        WHERE known.name = $1 AND known.heard_at >= $2::timestamptz - interval '${HEARD_EVERY_MS} milliseconds')
        ON CONFLICT (name) DO UPDATE SET heard_at = EXCLUDED.heard_at WHERE g.heard_at < EXCLUDED.heard_at)
SELECT head.seq AS head, ${continues} AS continues, entry.*
  FROM session.revocation_head AS head
  LEFT JOIN LATERAL (
    SELECT r.seq, CASE WHEN r.restores IS NULL THEN 'ENDED' ELSE 'RESTORED' END AS effect, r.session_ids AS "sessionIds",
           CASE WHEN r.kind = 'GRANT' THEN ARRAY[r.key] ELSE '{}' END AS "grantIds", r.reason, r.at,
           sum(cardinality(r.session_ids)) OVER (ORDER BY r.seq) - cardinality(r.session_ids) AS before
      FROM (SELECT r.* FROM session.revocations AS r WHERE ${from} ORDER BY r.seq LIMIT ${PAGE}) AS r) AS entry
    ON entry.before < ${PAGE_SESSIONS}
 WHERE head.id = 1
 ORDER BY entry.seq`;
/** $4 when the entry at $3 was made, or null if unknown. */
const PAGE_AFTER = readPage(
  "r.seq > $3::bigint",
  `($3::bigint <= head.seq AND ($4::timestamptz IS NULL OR EXISTS (
      SELECT FROM session.revocations AS r WHERE r.seq = $3::bigint AND r.at = $4::timestamptz)))`,
);
const PAGE_SINCE = readPage("r.at > $3::timestamptz", "true");

const Changed = z.object({ userId: z.uuid(), deviceRev: z.coerce.number() });
const Head = z.object({ head: z.coerce.number(), continues: z.boolean() });
const Entry = z.object({
  seq: z.coerce.number(),
  effect: z.enum(["ENDED", "RESTORED"]),
  sessionIds: z.array(z.uuid()),
  grantIds: z.array(z.uuid()),
  reason: FeedReason,
  at: z.date(),
});

/** The revocation feed in Postgres. */
export function createFeedStore(pool: Pool): FeedStore {
  return {
    async acknowledge(replica, acks, now) {
      const { rows } = await pool.query<Record<string, unknown>>({
        name: "acknowledge-revocations",
        text: ACKNOWLEDGE,
        values: [replica, acks.map(({ seq }) => seq), acks.map(({ socketsClosed }) => socketsClosed), now],
      });
      return rows.map((row) => Changed.parse(row));
    },

    async page(replica, from, now) {
      const { rows } = await pool.query<Record<string, unknown>>(
        "after" in from
          ? { name: "revocations-after", text: PAGE_AFTER, values: [replica, now, from.after, from.at ?? null] }
          : { name: "revocations-since", text: PAGE_SINCE, values: [replica, now, from.since] },
      );
      const revocations = rows.filter((row) => row["seq"] !== null).map((row) => Entry.parse(row));
      const { head, continues } = Head.parse(rows[0]);
      const last = revocations.at(-1)?.seq;
      return { continues, head, hasMore: last !== undefined && last < head, revocations };
    },

    async forget(replica) {
      await pool.query("DELETE FROM session.gateway_replicas WHERE name = $1", [replica]);
    },
  };
}
