import type { Pool } from "pg";
import { RETENTION_MS, type RetentionStore } from "./retention.ts";

const BATCH = 2_000;

/** Kinds deleted row by row. Security events form a chain and go only from its front, by a function of the database. */
const ROW_KINDS = [
  "redeemedGrants",
  "usedClientAssertions",
  "revocations",
  "endedSessions",
  "devices",
  "outbox",
  "gatewayReplicas",
] as const;
type RowKind = (typeof ROW_KINDS)[number];

/** For each kind: the table, its key, and the condition for deletion; `$1` is the cutoff time. */
const RULES: Readonly<Record<RowKind, { table: string; key: string; past: string }>> = {
  redeemedGrants: { table: "redeemed_grants", key: "jti", past: "expires_at < $1" },
  usedClientAssertions: { table: "used_client_assertions", key: "id", past: "good_until < $1" },
  revocations: { table: "revocations", key: "seq", past: "at < $1" },
  endedSessions: { table: "sessions", key: "id", past: "state <> 'ACTIVE' AND ended_at < $1" },
  devices: {
    table: "devices",
    key: "id",
    past: "last_seen_at < $1 AND NOT EXISTS (SELECT FROM session.sessions WHERE device_id = devices.id)",
  },
  outbox: { table: "outbox", key: "id", past: "enqueued_at < $1" },
  gatewayReplicas: { table: "gateway_replicas", key: "name", past: "heard_at < $1" },
};

/** The statement that deletes one batch of a kind. Batches commit one by one, so a crash loses no progress. */
export function forgetSql(kind: RowKind): string {
  const { table, key, past } = RULES[kind];
  // ARRAY(...), not IN (...): in a nested-loop join Postgres would run the subquery again per row and exceed the limit.
  return `DELETE FROM session.${table} WHERE ${key} = ANY (ARRAY(
            SELECT ${key} FROM session.${table} WHERE ${past} LIMIT ${BATCH} FOR UPDATE SKIP LOCKED))`;
}

/** Retention in Postgres. */
export function createRetentionStore(pool: Pool): RetentionStore {
  async function forgetOne(kind: RowKind, before: Date): Promise<number> {
    let deleted = 0;
    for (;;) {
      const { rowCount } = await pool.query(forgetSql(kind), [before]);
      deleted += rowCount ?? 0;
      if ((rowCount ?? 0) < BATCH) return deleted;
    }
  }

  async function forgetAuthEvents(before: Date): Promise<number> {
    let deleted = 0;
    for (;;) {
      const { rows } = await pool.query<{ pruned: number }>("SELECT session.prune_auth_events($1, $2) AS pruned", [
        before,
        BATCH,
      ]);
      const pruned = rows[0]?.pruned ?? 0;
      deleted += pruned;
      if (pruned < BATCH) return deleted;
    }
  }

  return {
    async forget(now) {
      const pastOf = (kind: keyof typeof RETENTION_MS): Date => new Date(now.getTime() - RETENTION_MS[kind]);
      const deleted: Record<string, number> = {};
      for (const name of ROW_KINDS) {
        deleted[name] = await forgetOne(name, pastOf(name));
      }
      deleted["authEvents"] = await forgetAuthEvents(pastOf("authEvents"));
      return deleted;
    },
  };
}
