/** The stream in Postgres: pages along the index (user_id, rev); concurrent requests share one statement. */
import { gather } from "@continuo/database";
import type { Json, KindName } from "@continuo/merge";
import type { Pool } from "pg";
import { stateOf, textUpdatesOf } from "../entry/unit.store.ts";
import { expiredState } from "../entry/expiry.ts";
import { MAX_REPLICAS } from "../entry/push.ts";
import { KINDS_WITH_GENERATIONS } from "../entry/unit.ts";
import { PAGE_BYTES, type Page, type StateEntry, type StreamStore } from "./stream.ts";

/** How many pages one statement reads: a process must hold all of them at full size. */
const PAGES_AT_ONCE = 16;

const WITH_GENERATIONS = KINDS_WITH_GENERATIONS.map((kind) => `'${kind}'`).join(", ");

const IS_EXPIRED = "(entry.expires_at IS NOT NULL AND entry.expires_at <= to_timestamp(head.server_now / 1000))";

/**
 * Returns a row for each page in $1 whose user has a head, in one snapshot, since head, replica and entries belong
 * together. An expired unit is returned as deleted. `LIMIT 1` tells the planner that the key identifies one row, so
 * that it uses the index whatever it estimates the table's size to be.
 */
export const READ_PAGES = `
  SELECT asked.place, head.*, client.*, page.*
  FROM json_to_recordset($1::json) AS asked
    (place int, user_id uuid, after bigint, floor bigint, namespaces text[], client_id uuid, first int)
  CROSS JOIN LATERAL (
    SELECT epoch, rev::float8 AS head_rev, pruned_rev::float8,
           greatest(max_ms, floor(extract(epoch FROM statement_timestamp()) * 1000)::bigint)::float8 AS server_now
    FROM user_state.user_heads
    WHERE user_id = asked.user_id
    LIMIT 1
  ) AS head
  LEFT JOIN LATERAL (
    SELECT device_id, acked_rev::float8, last_seq::float8,
           seen_at < statement_timestamp() - interval '1 minute' AS stale
    FROM user_state.sync_clients
    WHERE user_id = asked.user_id AND client_id = asked.client_id
    LIMIT 1
  ) AS client ON true
  CROSS JOIN LATERAL (
    SELECT count(*)::int AS found,
           json_agg(json_build_array(
             namespace, key, field, kind, state, CASE WHEN kind = 'TEXT' THEN ${textUpdatesOf("asked.user_id", "page")} END,
             deleted, rev, schema_version, extract(epoch FROM expires_at) * 1000, expired
           ) ORDER BY rev) FILTER (WHERE bytes_before < ${PAGE_BYTES}) AS entries
    FROM (
      SELECT *, sum(bytes) OVER (ORDER BY rev ROWS UNBOUNDED PRECEDING) - bytes AS bytes_before
      FROM (
        SELECT namespace, key, field, kind, state, deleted, rev, schema_version, bytes, expires_at, ${IS_EXPIRED} AS expired
        FROM user_state.state_entries AS entry
        WHERE entry.user_id = asked.user_id AND entry.rev > asked.after
          AND (NOT (entry.deleted OR ${IS_EXPIRED}) OR entry.kind IN (${WITH_GENERATIONS})
               OR entry.rev > coalesce(asked.floor, head.head_rev))
          AND (asked.namespaces IS NULL OR entry.namespace = ANY (asked.namespaces))
        ORDER BY entry.rev
        LIMIT asked.first
      ) AS page
    ) AS page
  ) AS page`;

const MAKE_HEAD = `
  INSERT INTO user_state.user_heads (user_id, epoch) VALUES ($1, $2) ON CONFLICT (user_id) DO NOTHING`;

const ACKNOWLEDGE = `
  INSERT INTO user_state.sync_clients AS client (user_id, client_id, device_id, acked_rev, seen_at)
  SELECT $1, $2, $3, $4, statement_timestamp()
  WHERE EXISTS (SELECT FROM user_state.sync_clients WHERE user_id = $1 AND client_id = $2)
    OR ${MAX_REPLICAS} > (SELECT count(*) FROM user_state.sync_clients WHERE user_id = $1 AND device_id = $3)
  ON CONFLICT (user_id, client_id) DO UPDATE
  SET acked_rev = greatest(client.acked_rev, excluded.acked_rev), seen_at = excluded.seen_at`;

/** In the column order of READ_PAGES. */
type EntryRow = readonly [
  namespace: string,
  key: string,
  field: string,
  kind: KindName,
  state: Json,
  updates: readonly string[] | null,
  deleted: boolean,
  rev: number,
  schemaVersion: number,
  expiresMs: number | null,
  expired: boolean,
];

interface Row {
  readonly place: number;
  readonly epoch: string;
  readonly head_rev: number;
  readonly pruned_rev: number;
  readonly server_now: number;
  /** The replica's columns; null when it is unknown. */
  readonly device_id: string | null;
  readonly acked_rev: number | null;
  readonly last_seq: number | null;
  readonly stale: boolean | null;
  /** One more than requested, if there is more. */
  readonly found: number;
  readonly entries: readonly EntryRow[] | null;
}

type AskedPage = Parameters<StreamStore["read"]>[0];

/** The stream of the `user_state` schema, through `pool`. */
export function createStreamStore(pool: Pool): StreamStore {
  const readTogether = gather((asked: readonly AskedPage[]) => readPages(pool, asked), {
    atMost: PAGES_AT_ONCE,
  });

  /**
   * A read from the start may return the whole state, so it does not share a statement with reads of recent changes.
   */
  async function read(asked: AskedPage): Promise<Page | undefined> {
    const isFromStart = asked.floor === undefined || asked.floor > asked.after;
    return isFromStart ? (await readPages(pool, [asked]))[0] : readTogether(asked);
  }

  return {
    async read(asked) {
      const page = await read(asked);
      if (page !== undefined) return page;
      await pool.query(MAKE_HEAD, [asked.userId, asked.newEpoch()]);
      const [made] = await readPages(pool, [asked]);
      if (made === undefined) throw new Error("a head row was made and is not there");
      return made;
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

/** In the order of `asked`; undefined for a user without a head. */
async function readPages(pool: Pool, asked: readonly AskedPage[]): Promise<(Page | undefined)[]> {
  const pages = asked.map(({ userId, clientId, after, floor, namespaces, first }, place) => ({
    place,
    user_id: userId,
    after,
    floor,
    namespaces,
    client_id: clientId,
    first: first + 1,
  }));
  const { rows } = await pool.query<Row>({
    name: "stream_read_pages",
    text: READ_PAGES,
    values: [JSON.stringify(pages)],
  });
  const found = new Map(rows.map((row) => [row.place, row]));
  return asked.map(({ first }, place) => {
    const row = found.get(place);
    return row && pageOf(row, first);
  });
}

function pageOf(row: Row, first: number): Page {
  const entries = (row.entries ?? []).slice(0, first).map(entryOf);
  return {
    head: { epoch: row.epoch, rev: row.head_rev, prunedRev: row.pruned_rev, serverNow: row.server_now },
    replica:
      row.device_id === null
        ? undefined
        : {
            deviceId: row.device_id,
            ackedRev: row.acked_rev ?? 0,
            lastSeq: row.last_seq ?? 0,
            stale: row.stale ?? true,
          },
    entries,
    hasMore: row.found > entries.length,
  };
}

function entryOf(row: EntryRow): StateEntry {
  const [namespace, key, field, kind, state, updates, deleted, rev, schemaVersion, expiresMs, expired] = row;
  const stored = { kind, state: stateOf({ state, updates }) };
  return {
    namespace,
    key,
    field,
    kind,
    rev,
    schemaVersion,
    ...(expired
      ? { state: expiredState(stored), deleted: true, expiresAt: null }
      : { state: stored.state, deleted, expiresAt: expiresMs && Math.round(expiresMs) }),
  };
}
