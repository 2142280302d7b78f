/** The stream in Postgres: one statement a page, along the index (user_id, rev). */
import type { Json, KindName } from "@continuo/merge";
import type { Pool } from "pg";
import { stateOf, textUpdatesOf } from "../entry/unit.store.ts";
import { expiredState } from "../entry/expiry.ts";
import { KINDS_WITH_GENERATIONS } from "../entry/unit.ts";
import type { Page, StreamStore } from "./stream.ts";

/** A page ends after the entry that passes this many bytes. */
const PAGE_BYTES = 512 * 1024;

const WITH_GENERATIONS = KINDS_WITH_GENERATIONS.map((kind) => `'${kind}'`).join(", ");

const SERVER_NOW = "greatest(head.max_ms, floor(extract(epoch FROM statement_timestamp()) * 1000)::bigint)::float8";
const IS_EXPIRED = `coalesce(entry.expires_at <= to_timestamp(${SERVER_NOW} / 1000), false)`;

/**
 * One snapshot: the head, the replica and the entries belong together. $3 is the floor, $4 the namespaces, each or null.
 * What has expired is told as what was deleted.
 */
export const READ_PAGE = `
  SELECT head.epoch, head.rev::float8 AS head_rev, head.pruned_rev::float8, ${SERVER_NOW} AS server_now,
         client.device_id, client.acked_rev::float8, client.last_seq::float8,
         client.seen_at < statement_timestamp() - interval '1 minute' AS stale,
         entry.*
  FROM user_state.user_heads AS head
  LEFT JOIN user_state.sync_clients AS client ON client.user_id = head.user_id AND client.client_id = $5
  LEFT JOIN LATERAL (
    SELECT page.*, CASE WHEN kind = 'TEXT' THEN ${textUpdatesOf("$1", "page")} END AS updates,
           count(*) OVER ()::float8 AS found,
           sum(bytes) OVER (ORDER BY rev) - bytes AS bytes_before
    FROM (
      SELECT namespace, key, field, kind, state, deleted, rev::float8, schema_version, bytes,
             extract(epoch FROM expires_at)::float8 * 1000 AS expires_ms, ${IS_EXPIRED} AS expired
      FROM user_state.state_entries AS entry
      WHERE entry.user_id = $1 AND entry.rev > $2
        AND (NOT (entry.deleted OR ${IS_EXPIRED}) OR entry.kind IN (${WITH_GENERATIONS}) OR entry.rev > coalesce($3, head.rev))
        AND ($4::text[] IS NULL OR entry.namespace = ANY ($4))
      ORDER BY entry.rev
      LIMIT $6
    ) AS page
  ) AS entry ON entry.bytes_before < ${PAGE_BYTES}
  WHERE head.user_id = $1
  ORDER BY entry.rev`;

const MAKE_HEAD = `
  INSERT INTO user_state.user_heads (user_id, epoch) VALUES ($1, $2) ON CONFLICT (user_id) DO NOTHING`;

const ACKNOWLEDGE = `
  INSERT INTO user_state.sync_clients AS client (user_id, client_id, device_id, acked_rev, seen_at)
  VALUES ($1, $2, $3, $4, statement_timestamp())
  ON CONFLICT (user_id, client_id) DO UPDATE
  SET acked_rev = greatest(client.acked_rev, excluded.acked_rev), seen_at = excluded.seen_at`;

interface HeadColumns {
  readonly epoch: string;
  readonly head_rev: number;
  readonly pruned_rev: number;
  readonly server_now: number;
  readonly device_id: string | null;
  readonly acked_rev: number | null;
  readonly last_seq: number | null;
  readonly stale: boolean | null;
}

interface EntryColumns {
  readonly namespace: string;
  readonly key: string;
  readonly field: string;
  readonly kind: KindName;
  readonly state: Json;
  readonly updates: readonly string[] | null;
  readonly deleted: boolean;
  readonly rev: number;
  readonly schema_version: number;
  readonly expires_ms: number | null;
  readonly expired: boolean;
  readonly found: number;
}

/** A head without entries is one row whose entry columns are null. */
type Row = HeadColumns & (EntryColumns | { readonly namespace: null });

/** The stream of the `user_state` schema, through `pool`. */
export function createStreamStore(pool: Pool): StreamStore {
  return {
    async read({ userId, after, floor, namespaces, first, clientId, newEpoch }) {
      const query = {
        name: "stream_read_page",
        text: READ_PAGE,
        values: [userId, after, floor, namespaces, clientId, first + 1],
      };
      let { rows } = await pool.query<Row>(query);
      if (rows.length === 0) {
        await pool.query(MAKE_HEAD, [userId, newEpoch]);
        ({ rows } = await pool.query<Row>(query));
      }
      return pageOf(rows, first);
    },
    async acknowledge({ userId, clientId, deviceId, ackedRev }) {
      await pool.query({
        name: "stream_acknowledge",
        text: ACKNOWLEDGE,
        values: [userId, clientId, deviceId, ackedRev],
      });
    },
  };
}

function pageOf(rows: readonly Row[], first: number): Page {
  const head = rows[0];
  if (head === undefined) throw new Error("a head row was made and is not there");
  const found = rows.flatMap((row) => (row.namespace === null ? [] : [row]));
  const entries = found.slice(0, first).map((row) => ({
    namespace: row.namespace,
    key: row.key,
    field: row.field,
    kind: row.kind,
    rev: row.rev,
    schemaVersion: row.schema_version,
    ...(row.expired
      ? { state: expiredState(row), deleted: true, expiresAt: null }
      : { state: stateOf(row), deleted: row.deleted, expiresAt: row.expires_ms && Math.round(row.expires_ms) }),
  }));
  return {
    head: { epoch: head.epoch, rev: head.head_rev, prunedRev: head.pruned_rev, serverNow: head.server_now },
    replica:
      head.device_id === null
        ? undefined
        : {
            deviceId: head.device_id,
            ackedRev: head.acked_rev ?? 0,
            lastSeq: head.last_seq ?? 0,
            stale: head.stale ?? true,
          },
    entries,
    hasMore: (found[0]?.found ?? 0) > entries.length,
  };
}
