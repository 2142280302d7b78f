/** Expiry in Postgres, under the lock of the user's head row like a push. */
import type { Json, KindName } from "@continuo/merge";
import type { PoolClient } from "pg";
import { SERVER_NOW } from "../database/user-head.ts";
import { stateOf, textUpdatesOf } from "./unit.store.ts";
import { makeTombstones } from "./expiry.ts";
import type { Usage } from "./quota.ts";
import type { UnitName } from "./unit.ts";

const LOCK_HEAD = `
  SELECT rev::float8, entries, bytes::float8, usage,
         ${SERVER_NOW}::float8 AS server_now
  FROM user_state.user_heads AS head WHERE user_id = $1 FOR UPDATE`;

/** A separate statement: its snapshot must be younger than the lock. */
const READ_DUE = `
  SELECT namespace, key, field, kind, state, bytes,
         CASE WHEN kind = 'TEXT' THEN ${textUpdatesOf("$1", "entry")} END AS updates
  FROM user_state.state_entries AS entry
  WHERE user_id = $1 AND expires_at <= to_timestamp($2::float8 / 1000)
  ORDER BY expires_at, rev LIMIT $3`;

/** $7: the tombstones; $6: the removal time that they remember. */
const BURY = `
  WITH tombstone AS (
    SELECT * FROM jsonb_to_recordset($7::jsonb)
      AS tombstone (namespace text, key text, field text, state jsonb, rev bigint, bytes int)
  ), head AS (
    UPDATE user_state.user_heads SET rev = $2, entries = $3, bytes = $4, usage = $5 WHERE user_id = $1
  ), emptied AS (
    DELETE FROM user_state.text_updates AS stored USING tombstone
    WHERE stored.user_id = $1 AND stored.namespace = tombstone.namespace
      AND stored.key = tombstone.key AND stored.field = tombstone.field
  )
  UPDATE user_state.state_entries AS entry
  SET state = tombstone.state, deleted = true, rev = tombstone.rev, bytes = tombstone.bytes, removed_ms = $6,
      expires_at = NULL
  FROM tombstone
  WHERE entry.user_id = $1 AND entry.namespace = tombstone.namespace
    AND entry.key = tombstone.key AND entry.field = tombstone.field`;

interface HeadRow {
  readonly rev: number;
  readonly entries: number;
  readonly bytes: number;
  readonly usage: Usage["namespaces"];
  readonly server_now: number;
}

interface DueRow extends UnitName {
  readonly kind: KindName;
  readonly state: Json;
  readonly bytes: number;
  readonly updates: readonly string[] | null;
}

/** Turns up to `limit` expired units of a user into tombstones, within a transaction; returns how many. */
export async function buryExpired(connection: PoolClient, userId: string, limit?: number): Promise<number> {
  const { rows: heads } = await connection.query<HeadRow>(LOCK_HEAD, [userId]);
  const head = heads[0];
  if (head === undefined) return 0;
  const { rows: due } = await connection.query<DueRow>(READ_DUE, [userId, head.server_now, limit]);
  if (due.length === 0) return 0;
  const before = { rev: head.rev, usage: { entries: head.entries, bytes: head.bytes, namespaces: head.usage } };
  const { rev, usage, tombstones } = makeTombstones(
    before,
    due.map((row) => ({ ...row, state: stateOf(row) })),
  );
  await connection.query(BURY, [
    userId,
    rev,
    usage.entries,
    usage.bytes,
    JSON.stringify(usage.namespaces),
    head.server_now,
    JSON.stringify(tombstones),
  ]);
  return due.length;
}
