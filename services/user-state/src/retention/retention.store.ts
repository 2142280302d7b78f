/** Retention in Postgres. What changes a user's state takes the lock of their head row, as a push does. */
import type { Json } from "@continuo/merge";
import type { Pool, PoolClient } from "pg";
import { inTransaction } from "@continuo/database";
import { buryExpired } from "../entry/expiry.store.ts";
import { bytesOf } from "../entry/unit.ts";
import { forgetInMap, type RetentionStore } from "./retention.ts";

/** Deletes rows by ctid: a join on their keys would scan the whole table. */
const FORGET_ANSWERS = `
  DELETE FROM user_state.op_outcomes
  WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM user_state.op_outcomes WHERE at < $1 ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED
  ))`;

const FORGET_ACTIVITIES = `
  DELETE FROM user_state.activities
  WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM user_state.activities WHERE expires_at < $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
  ))`;

/** Skips users with a push in progress: the next run finds them. */
const LOCK_USERS_WITH_IDLE_REPLICAS = `
  SELECT user_id FROM user_state.user_heads
  WHERE user_id IN (
    SELECT user_id FROM user_state.sync_clients
    WHERE seen_on <= ($1::timestamptz AT TIME ZONE 'UTC')::date AND seen_at < $1 ORDER BY seen_on LIMIT $2
  )
  FOR UPDATE SKIP LOCKED`;

const FORGET_REPLICAS = `
  WITH forgotten AS (
    DELETE FROM user_state.sync_clients WHERE user_id = ANY ($2::uuid[]) AND seen_at < $1 RETURNING user_id
  ), fenced AS (
    UPDATE user_state.user_heads SET clients_pruned_before = greatest(clients_pruned_before, $1) WHERE user_id IN (SELECT user_id FROM forgotten)
  )
  SELECT count(*)::int AS count FROM forgotten`;

const USERS_WITH_REMOVALS = `
  SELECT DISTINCT user_id FROM user_state.state_entries
  WHERE removed_ms < $1 AND user_id > $2 ORDER BY user_id LIMIT $3`;

const USERS_WITH_EXPIRED = `
  SELECT DISTINCT user_id FROM user_state.state_entries
  WHERE expires_at <= statement_timestamp() AND user_id > $1 ORDER BY user_id LIMIT $2`;

const LOCK_USER = "SELECT FROM user_state.user_heads WHERE user_id = $1 FOR UPDATE";

const PRUNE_TOMBSTONES = `
  WITH pruned AS (
    DELETE FROM user_state.state_entries
    WHERE user_id = $1 AND deleted AND removed_ms < $2 AND ms < $2
      AND NOT EXISTS (
        SELECT FROM user_state.sync_clients AS client WHERE client.user_id = $1 AND client.acked_rev < state_entries.rev
      )
    RETURNING rev
  ), fenced AS (
    UPDATE user_state.user_heads SET pruned_rev = greatest(pruned_rev, (SELECT max(rev) FROM pruned)) WHERE user_id = $1
  )
  SELECT count(*)::int AS count FROM pruned`;

/** Less is stored now: recounted from the rows, which also corrects any earlier miscount. */
const RECOUNT = `
  UPDATE user_state.user_heads
  SET usage = (
    SELECT coalesce(jsonb_object_agg(kept.key, kept.value || jsonb_build_object('stored', (
      SELECT coalesce(sum(bytes), 0) FROM user_state.state_entries WHERE user_id = $1 AND namespace = kept.key
    ))), '{}')
    FROM jsonb_each(usage) AS kept
  )
  WHERE user_id = $1`;

/** Maps that may have members to forget, and the lowest revision acknowledged by every replica. */
const MAPS_WITH_REMOVALS = `
  SELECT namespace, key, field, state, bytes,
         (SELECT min(acked_rev) FROM user_state.sync_clients WHERE user_id = $1)::float8 AS acked_rev
  FROM user_state.state_entries
  WHERE user_id = $1 AND kind = 'MAP' AND NOT deleted AND removed_ms < $2`;

/** A pruned map is a change like any other, so it gets a revision; $7 is the fence, which pruning raises. */
const STORE_MAP = `
  WITH head AS (
    UPDATE user_state.user_heads
    SET rev = rev + 1, pruned_rev = greatest(pruned_rev, $7), bytes = bytes + $8,
        usage = jsonb_set(usage, ARRAY[$2, 'bytes'], to_jsonb(coalesce((usage -> $2 ->> 'bytes')::bigint, 0) + $8))
    WHERE user_id = $1
    RETURNING rev
  )
  UPDATE user_state.state_entries AS entry
  SET state = $5, bytes = $6, rev = head.rev, removed_ms = $9
  FROM head WHERE entry.user_id = $1 AND entry.namespace = $2 AND entry.key = $3 AND entry.field = $4`;

interface MapRow {
  readonly namespace: string;
  readonly key: string;
  readonly field: string;
  readonly state: Json;
  readonly bytes: number;
  readonly acked_rev: number | null;
}

/** Retention of the `user_state` schema, through `pool`. */
export function createRetentionStore(pool: Pool): RetentionStore {
  return {
    async now() {
      const { rows } = await pool.query<{ now: Date }>("SELECT statement_timestamp() AS now");
      if (rows[0] === undefined) throw new Error("a row of constants is not there");
      return rows[0].now;
    },
    async forgetAnswers(cutoff, limit) {
      const { rowCount } = await pool.query(FORGET_ANSWERS, [cutoff, limit]);
      return rowCount ?? 0;
    },
    async forgetActivities(cutoff, limit) {
      const { rowCount } = await pool.query(FORGET_ACTIVITIES, [cutoff, limit]);
      return rowCount ?? 0;
    },
    forgetReplicas: (cutoff, limit) =>
      inTransaction(pool, async (connection) => {
        const { rows } = await connection.query<{ user_id: string }>(LOCK_USERS_WITH_IDLE_REPLICAS, [cutoff, limit]);
        return counted(connection, FORGET_REPLICAS, [cutoff, rows.map((row) => row.user_id)]);
      }),
    async usersWithRemovals(cutoff, afterUserId, limit) {
      const { rows } = await pool.query<{ user_id: string }>(USERS_WITH_REMOVALS, [
        cutoff.getTime(),
        afterUserId,
        limit,
      ]);
      return rows.map((row) => row.user_id);
    },
    async usersWithExpired(afterUserId, limit) {
      const { rows } = await pool.query<{ user_id: string }>(USERS_WITH_EXPIRED, [afterUserId, limit]);
      return rows.map((row) => row.user_id);
    },
    buryExpired: (userId, limit) => inTransaction(pool, (connection) => buryExpired(connection, userId, limit)),
    pruneTombstones: (userId, cutoff) =>
      inTransaction(pool, async (connection) => {
        await connection.query(LOCK_USER, [userId]);
        const pruned = await counted(connection, PRUNE_TOMBSTONES, [userId, cutoff.getTime()]);
        if (pruned > 0) await connection.query(RECOUNT, [userId]);
        return pruned;
      }),
    pruneMaps: (userId, cutoff) =>
      inTransaction(pool, async (connection) => {
        await connection.query(LOCK_USER, [userId]);
        const { rows } = await connection.query<MapRow>(MAPS_WITH_REMOVALS, [userId, cutoff.getTime()]);
        let pruned = 0;
        for (const { namespace, key, field, ...row } of rows) {
          const forgotten = forgetInMap(row.state, row.acked_rev ?? Number.MAX_SAFE_INTEGER, cutoff.getTime());
          if (forgotten === undefined) continue;
          const { state, fence, isClean } = forgotten;
          const bytes = bytesOf({ kind: "MAP", state }, { namespace, key, field });
          await connection.query(STORE_MAP, [
            userId,
            namespace,
            key,
            field,
            JSON.stringify(state),
            bytes,
            fence,
            bytes - row.bytes,
            isClean ? null : cutoff.getTime(),
          ]);
          pruned += 1;
        }
        if (pruned > 0) await connection.query(RECOUNT, [userId]);
        return pruned;
      }),
  };
}

async function counted(connection: PoolClient, text: string, values: unknown[]): Promise<number> {
  const { rows } = await connection.query<{ count: number }>(text, values);
  return rows[0]?.count ?? 0;
}
