/**
 * Archives in Postgres: exported from one snapshot along the index that pulls use, imported under the lock of the
 * user's head row.
 */
import { setTimeout as delay } from "node:timers/promises";
import { inTransaction } from "@continuo/database";
import { AppError } from "@continuo/errors";
import type { Json, KindName } from "@continuo/merge";
import { compact } from "@continuo/merge/text";
import type { Pool, PoolClient } from "pg";
import { lockHead, SERVER_NOW } from "../database/user-head.ts";
import { expiredState } from "../entry/expiry.ts";
import type { Usage } from "../entry/quota.ts";
import { textStateOf, unitId, type UnitName } from "../entry/unit.ts";
import { stateOf, textUpdatesOf } from "../entry/unit.store.ts";
import type { ArchivedUnit, ArchiveHeader, ArchiveStore, Part } from "./archive.ts";
import type { IntakeStore, Met, StandingUnit } from "./intake.ts";

/** A part ends after the unit that passes this many bytes. */
const PART_BYTES = 512 * 1024;
const PART_ROWS = 1_000;
/**
 * How long a part may wait to be consumed, and how long the whole export may take: a snapshot holds a connection and
 * delays vacuum.
 */
const PART_WITHIN_MS = 20_000;
const ALL_WITHIN_MS = 10 * 60_000;

const HEADER = `
  SELECT head.user_id AS "userId", head.epoch, head.rev::float8, head.pruned_rev::float8 AS "prunedRev",
         ${SERVER_NOW}::float8 AS at, found.namespaces, found.total
  FROM user_state.user_heads AS head
  CROSS JOIN LATERAL (
    SELECT coalesce(jsonb_agg(jsonb_build_object('name', namespace, 'version', version) ORDER BY namespace), '[]') AS namespaces,
           coalesce(sum(count), 0)::float8 AS total
    FROM (
      SELECT namespace, max(schema_version) AS version, count(*) AS count
      FROM user_state.state_entries WHERE user_id = head.user_id GROUP BY namespace
    ) AS entry
  ) AS found
  WHERE head.user_id = $1`;

/** $2: the last revision read, $3: the server's clock, $4: how many. */
const UNITS = `
  SELECT page.*, CASE WHEN kind = 'TEXT' THEN ${textUpdatesOf("$1", "page")} END AS updates
  FROM (
    SELECT namespace, key, field, kind, state, deleted, rev::float8, schema_version AS "schemaVersion", ms::float8,
           removed_ms::float8 AS "removedMs", round(extract(epoch FROM expires_at) * 1000)::float8 AS "expiresAt",
           coalesce(expires_at <= to_timestamp($3::float8 / 1000), false) AS expired,
           sum(bytes) OVER (ORDER BY rev) - bytes AS bytes_before
    FROM (
      SELECT * FROM user_state.state_entries WHERE user_id = $1 AND rev > $2 ORDER BY rev LIMIT $4
    ) AS entry
  ) AS page
  WHERE bytes_before < ${PART_BYTES}
  ORDER BY rev`;

const ACTIVITIES = `
  SELECT id, device_id AS "deviceId", namespace, key, field, kind, title, uris, at, expires_at AS "expiresAt", ended_at AS "endedAt"
  FROM user_state.activities WHERE user_id = $1 ORDER BY at, id`;

const OUTCOMES = `
  SELECT client_id AS "clientId", seq::float8, status, code, message, rev::float8, at
  FROM user_state.op_outcomes
  WHERE user_id = $1 AND (client_id, seq) > ($2::uuid, $3::bigint) ORDER BY client_id, seq LIMIT $4`;

const REPLICAS = `
  SELECT client_id AS "clientId", device_id AS "deviceId", last_seq::float8 AS "lastSeq", acked_rev::float8 AS "ackedRev",
         pending, seen_at AS "seenAt"
  FROM user_state.sync_clients WHERE user_id = $1 AND client_id > $2::uuid ORDER BY client_id LIMIT $3`;

const FIRST_ID = "00000000-0000-0000-0000-000000000000";

interface UnitRow extends ArchivedUnit {
  readonly updates: readonly string[] | null;
  readonly expired: boolean;
}

/** Snapshots of the `user_state` schema, through `pool`. */
export function createArchiveStore(
  pool: Pool,
  { partWithinMs = PART_WITHIN_MS, allWithinMs = ALL_WITHIN_MS } = {},
): ArchiveStore {
  return {
    async *snapshot(userId) {
      const connection = await pool.connect();
      const slow = new AbortController();
      let isHeld = true;
      const release = (cause?: Error): void => {
        if (isHeld) connection.release(cause);
        isHeld = false;
      };
      // Releases the connection at the deadline, even while nobody asks for the next part.
      const giveUp = (): void => {
        slow.abort();
        release(new Error("an export was too slow"));
      };
      const deadline = setTimeout(giveUp, allWithinMs);
      try {
        await connection.query("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY");
        for await (const part of partsOf(connection, userId)) {
          const untaken = setTimeout(giveUp, partWithinMs);
          try {
            yield part;
          } finally {
            clearTimeout(untaken);
          }
          if (slow.signal.aborted) throw tooSlow();
        }
        await connection.query("COMMIT");
      } catch (cause) {
        throw slow.signal.aborted ? tooSlow() : cause;
      } finally {
        clearTimeout(deadline);
        if (isHeld)
          await Promise.race([connection.query("ROLLBACK"), delay(1_000)]).then(
            () => release(),
            (cause: Error) => release(cause),
          );
      }
    },
  };
}

function tooSlow(): AppError {
  return new AppError("UNAVAILABLE", "EXPORT_TOO_SLOW", "The export was not taken in time: start it again.");
}

async function* partsOf(connection: PoolClient, userId: string): AsyncIterable<Part> {
  const heads = await connection.query<ArchiveHeader & { total: number }>(HEADER, [userId]);
  const head = heads.rows[0];
  if (head === undefined) return;
  const { total, ...header } = head;
  yield { header, total };

  for (let since = 0; ;) {
    const { rows } = await connection.query<UnitRow>(UNITS, [userId, since, header.at, PART_ROWS]);
    const last = rows.at(-1);
    if (last === undefined) break;
    since = last.rev;
    yield { units: rows.map(archived) };
  }
  const activities = await connection.query<{ id: string }>(ACTIVITIES, [userId]);
  if (activities.rows.length > 0) yield { activities: activities.rows };
  for (let after = { clientId: FIRST_ID, seq: 0 }; ;) {
    const values = [userId, after.clientId, after.seq, PART_ROWS];
    const { rows } = await connection.query<typeof after>(OUTCOMES, values);
    const last = rows.at(-1);
    if (last === undefined) break;
    after = last;
    yield { outcomes: rows };
  }
  for (let after = FIRST_ID; ;) {
    const { rows } = await connection.query<{ clientId: string }>(REPLICAS, [userId, after, PART_ROWS]);
    const last = rows.at(-1);
    if (last === undefined) break;
    after = last.clientId;
    yield { replicas: rows };
  }
}

/** Archives an expired unit as deleted, and a text as one compacted document. */
function archived(row: UnitRow): ArchivedUnit {
  const { namespace, key, field, kind, deleted, rev, schemaVersion, ms, removedMs, expiresAt, expired } = row;
  const stored = stateOf(row);
  const state: Json = expired ? expiredState({ kind, state: stored }) : stored;
  return {
    namespace,
    key,
    field,
    kind,
    state: kind === "TEXT" ? compact(textStateOf(state)) : state,
    rev,
    schemaVersion,
    ms,
    ...(expired ? { deleted: true, removedMs: removedMs ?? ms, expiresAt: null } : { deleted, removedMs, expiresAt }),
  };
}

const LOCK_HEAD = lockHead(`epoch, rev::float8, ${SERVER_NOW}::float8 AS server_now, entries, bytes::float8, usage`);

/** A separate statement: its snapshot must be younger than the lock. $2 to $4 have one element per unit. */
const READ_STANDING = `
  SELECT entry.namespace, entry.key, entry.field, entry.kind, entry.state, entry.rev::float8, entry.schema_version,
         entry.bytes, entry.removed_ms::float8, entry.ms::float8,
         round(extract(epoch FROM entry.expires_at) * 1000)::float8 AS expires_ms,
         CASE WHEN entry.kind = 'TEXT' THEN ${textUpdatesOf("$1", "entry")} END AS updates
  FROM unnest($2::text[], $3::text[], $4::text[]) AS asked (namespace, key, field)
  JOIN user_state.state_entries AS entry
    ON entry.user_id = $1 AND entry.namespace = asked.namespace AND entry.key = asked.key AND entry.field = asked.field`;

const STORE = `
  WITH head AS (
    UPDATE user_state.user_heads
    SET rev = $2, pruned_rev = greatest(pruned_rev, $3), entries = $4, bytes = $5, usage = $6, max_ms = greatest(max_ms, $7)
    WHERE user_id = $1
  ), emptied AS (
    DELETE FROM user_state.text_updates AS stored
    USING jsonb_to_recordset($8::jsonb) AS change (namespace text, key text, field text, kind text)
    WHERE change.kind = 'TEXT' AND stored.user_id = $1
      AND stored.namespace = change.namespace AND stored.key = change.key AND stored.field = change.field
  )
  INSERT INTO user_state.state_entries
    (user_id, namespace, key, field, kind, state, deleted, ms, rev, schema_version, bytes, removed_ms, expires_at)
  SELECT $1, namespace, key, field, kind, state, deleted, ms, rev, "schemaVersion", bytes, "removedMs",
         to_timestamp("expiresAt"::float8 / 1000)
  FROM jsonb_to_recordset($8::jsonb) AS change
    (namespace text, key text, field text, kind text, state jsonb, deleted boolean, ms bigint, rev bigint,
     "schemaVersion" int, bytes int, "removedMs" bigint, "expiresAt" bigint)
  ON CONFLICT (user_id, namespace, key, field) DO UPDATE SET
    state = excluded.state, deleted = excluded.deleted, ms = excluded.ms, rev = excluded.rev,
    schema_version = excluded.schema_version, bytes = excluded.bytes, removed_ms = excluded.removed_ms,
    expires_at = excluded.expires_at`;

interface HeadRow {
  readonly epoch: string;
  readonly rev: number;
  readonly server_now: number;
  readonly entries: number;
  readonly bytes: number;
  readonly usage: Usage["namespaces"];
}

interface StandingRow extends UnitName {
  readonly kind: KindName;
  readonly state: Json;
  readonly updates: readonly string[] | null;
  readonly rev: number;
  readonly schema_version: number;
  readonly bytes: number;
  readonly removed_ms: number | null;
  readonly ms: number;
  readonly expires_ms: number | null;
}

/** Taking archives into the `user_state` schema, through `pool`. */
export function createIntakeStore(pool: Pool): IntakeStore {
  return {
    take: ({ userId, newEpoch, units, dryRun }, decide) =>
      inTransaction(pool, async (connection) => {
        const met = await readMet(connection, userId, newEpoch, units);
        const { rev, prunedRev, usage, changes } = decide(met);
        if (dryRun || changes.length === 0) return;
        await connection.query(STORE, [
          userId,
          rev,
          prunedRev,
          usage.entries,
          usage.bytes,
          JSON.stringify(usage.namespaces),
          Math.max(...changes.map(({ ms }) => ms)),
          JSON.stringify(changes),
        ]);
      }),
  };
}

async function readMet(
  connection: PoolClient,
  userId: string,
  newEpoch: string,
  units: readonly UnitName[],
): Promise<Met> {
  const heads = await connection.query<HeadRow>(LOCK_HEAD, [userId, newEpoch]);
  const head = heads.rows[0];
  if (head === undefined) throw new Error("an upsert returned no row");
  const { rows } = await connection.query<StandingRow>(READ_STANDING, [
    userId,
    units.map(({ namespace }) => namespace),
    units.map(({ key }) => key),
    units.map(({ field }) => field),
  ]);
  return {
    epoch: head.epoch,
    rev: head.rev,
    serverNow: head.server_now,
    usage: { entries: head.entries, bytes: head.bytes, namespaces: head.usage },
    units: new Map(rows.map((row) => [unitId(row), standingOf(row)])),
  };
}

function standingOf(row: StandingRow): StandingUnit {
  const { kind, rev, schema_version: schemaVersion, bytes, removed_ms: removedMs, ms, expires_ms: expiresAt } = row;
  return { kind, state: stateOf(row), rev, schemaVersion, bytes, removedMs, ms, expiresAt };
}
