/** Erasure in Postgres: rows are deleted; the remaining head row records only when. */
import { inTransaction } from "@continuo/database";
import type { Pool, PoolClient } from "pg";
import { lockHead } from "../database/user-head.ts";
import type { ErasureReceipt, ErasureStore } from "./erasure.ts";

/** $2: namespaces, or null for all. */
const deleteFrom = (table: string): string => `
  WITH erased AS (
    DELETE FROM user_state.${table} WHERE user_id = $1 AND ($2::text[] IS NULL OR namespace = ANY ($2)) RETURNING namespace
  )
  SELECT namespace, count(*)::int AS count FROM erased GROUP BY namespace`;

const ERASE_OUTCOMES = "DELETE FROM user_state.op_outcomes WHERE user_id = $1";
const ERASE_REPLICAS = "DELETE FROM user_state.sync_clients WHERE user_id = $1";
/** Messages may quote erased values, and do not say which namespace they belong to. */
const EMPTY_OUTCOMES = "UPDATE user_state.op_outcomes SET message = NULL WHERE user_id = $1 AND message IS NOT NULL";

/** Takes its own revision, so that readers who are poked read again. */
const RENEW_HEAD = `
  UPDATE user_state.user_heads
  SET epoch = $3, rev = rev + 1, activity_rev = activity_rev + 1, activities_erased_rev = activity_rev + 1,
      erased = CASE WHEN $2::text[] IS NULL THEN jsonb_build_object('*', rev + 1)
               ELSE erased || (SELECT jsonb_object_agg(name, user_heads.rev + 1) FROM unnest($2::text[]) AS name) END,
      entries = CASE WHEN $2::text[] IS NULL THEN 0 ELSE entries - (
        SELECT coalesce(sum((value ->> 'entries')::int), 0) FROM jsonb_each(usage) WHERE key = ANY ($2)
      ) END,
      bytes = CASE WHEN $2::text[] IS NULL THEN 0 ELSE bytes - (
        SELECT coalesce(sum((value ->> 'bytes')::bigint), 0) FROM jsonb_each(usage) WHERE key = ANY ($2)
      ) END,
      usage = CASE WHEN $2::text[] IS NULL THEN '{}' ELSE usage - $2::text[] END
  WHERE user_id = $1
  RETURNING rev::float8, activity_rev::float8, statement_timestamp() AS at`;

/** Rolls back a dry run, and carries its receipt. */
class DryRun extends Error {
  readonly receipt: ErasureReceipt;
  constructor(receipt: ErasureReceipt) {
    super("nothing was erased");
    this.receipt = receipt;
  }
}

/** Erases rows of the `user_state` schema, through `pool`. */
export function createErasureStore(pool: Pool): ErasureStore {
  return {
    erase: ({ userId, namespaces, newEpoch, dryRun }) =>
      inTransaction(pool, async (connection) => {
        await connection.query(lockHead("rev"), [userId, newEpoch]);
        const erase = (table: string): Promise<Map<string, number>> =>
          countsOf(connection, deleteFrom(table), [userId, namespaces]);
        const textUpdates = await erase("text_updates");
        const entries = await erase("state_entries");
        const activities = await erase("activities");
        const isAll = namespaces === undefined;
        const outcomes = await connection.query(isAll ? ERASE_OUTCOMES : EMPTY_OUTCOMES, [userId]);
        const replicas = isAll ? await connection.query(ERASE_REPLICAS, [userId]) : undefined;
        const { rows } = await connection.query<{ rev: number; activity_rev: number; at: Date }>(RENEW_HEAD, [
          userId,
          namespaces,
          newEpoch,
        ]);
        const head = rows[0];
        if (head === undefined) throw new Error("a locked row is not there");
        const names = new Set([...entries.keys(), ...textUpdates.keys(), ...activities.keys()]);
        const receipt: ErasureReceipt = {
          at: head.at,
          epoch: newEpoch,
          rev: head.rev,
          activityRev: head.activity_rev,
          namespaces: [...names].sort().map((namespace) => ({
            namespace,
            entries: entries.get(namespace) ?? 0,
            textUpdates: textUpdates.get(namespace) ?? 0,
            activities: activities.get(namespace) ?? 0,
          })),
          outcomes: isAll ? (outcomes.rowCount ?? 0) : 0,
          replicas: replicas?.rowCount ?? 0,
        };
        if (dryRun) throw new DryRun(receipt);
        return receipt;
      }).catch((cause: unknown) => {
        if (cause instanceof DryRun) return cause.receipt;
        throw cause;
      }),
  };
}

async function countsOf(connection: PoolClient, text: string, values: unknown[]): Promise<Map<string, number>> {
  const { rows } = await connection.query<{ namespace: string; count: number }>(text, values);
  return new Map(rows.map(({ namespace, count }) => [namespace, count]));
}
