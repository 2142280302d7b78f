/** The effects of pushes in Postgres: the settlements of many users in one statement, and so one commit. */
import type { Json, KindName } from "@continuo/merge";
import type { Change, Push, Settlement } from "./push.ts";
import type { Connection, Standing } from "./standing.store.ts";
import { unitId, type UnitName } from "./unit.ts";

const UNIT_COLUMNS = `user_id uuid, namespace text, key text, field text, kind text, state jsonb, deleted boolean, ms bigint,
       rev bigint, schema_version int, bytes int, removed_ms bigint, expires_ms bigint`;

/**
 * What may be written besides the heads. A statement contains only the parts that have rows, since empty ones cost time
 * too.
 */
const PARTS = ["answers", "added", "changed", "compacted", "appended"] as const;
type Part = (typeof PARTS)[number];

/** The SQL of each part, restricted to the users in `head`; `rows` is its parameter. */
const WRITES: Readonly<Record<Part, (rows: string) => string>> = {
  answers: (rows) => `
    INSERT INTO user_state.op_outcomes (user_id, client_id, seq, status, code, message, rev, at)
    SELECT user_id, client_id, seq, status, code, message, rev, statement_timestamp()
    FROM head JOIN jsonb_to_recordset(${rows}) AS answer
      (user_id uuid, seq bigint, status text, code text, message text, rev bigint) USING (user_id)
    ON CONFLICT (user_id, client_id, seq) DO NOTHING`,

  // Units that were not met when read.
  added: (rows) => `
    INSERT INTO user_state.state_entries
      (user_id, namespace, key, field, kind, state, deleted, ms, rev, schema_version, bytes, removed_ms, expires_at)
    SELECT user_id, namespace, key, field, kind, state, deleted, ms, rev, schema_version, bytes, removed_ms,
           to_timestamp(expires_ms::float8 / 1000)
    FROM head JOIN jsonb_to_recordset(${rows}) AS change (${UNIT_COLUMNS}) USING (user_id)
    ON CONFLICT (user_id, namespace, key, field) DO UPDATE SET
      kind = excluded.kind, state = excluded.state, deleted = excluded.deleted, ms = excluded.ms, rev = excluded.rev,
      schema_version = excluded.schema_version, bytes = excluded.bytes, removed_ms = excluded.removed_ms,
      expires_at = excluded.expires_at`,

  // Units that were met: an upsert's conflict check would cost as much again.
  changed: (rows) => `
    UPDATE user_state.state_entries AS entry
    SET kind = change.kind, state = coalesce(change.state, entry.state), deleted = change.deleted, ms = change.ms,
        rev = change.rev, schema_version = change.schema_version, bytes = change.bytes, removed_ms = change.removed_ms,
        expires_at = to_timestamp(change.expires_ms::float8 / 1000)
    FROM head JOIN jsonb_to_recordset(${rows}) AS change (${UNIT_COLUMNS}) USING (user_id)
    WHERE entry.user_id = change.user_id
      AND entry.namespace = change.namespace AND entry.key = change.key AND entry.field = change.field
    RETURNING entry.user_id`,

  // A text whose state is rewritten has no separate updates any more.
  compacted: (rows) => `
    DELETE FROM user_state.text_updates AS stored
    USING head JOIN jsonb_to_recordset(${rows}) AS text (user_id uuid, namespace text, key text, field text) USING (user_id)
    WHERE stored.user_id = text.user_id
      AND stored.namespace = text.namespace AND stored.key = text.key AND stored.field = text.field`,

  // Other texts get their updates appended: the state, which Postgres stores out of line, stays untouched.
  appended: (rows) => `
    INSERT INTO user_state.text_updates (user_id, namespace, key, field, rev, update)
    SELECT user_id, namespace, key, field, rev, update
    FROM head JOIN jsonb_to_recordset(${rows}) AS appended
      (user_id uuid, namespace text, key text, field text, rev bigint, update text) USING (user_id)`,
};

/**
 * Writes everything of a user in $1 if the head row still has the version that was read and is not locked; otherwise
 * nothing. So a statement that locks several heads waits for none. If a unit that was met is missing, that is a bug,
 * and the statement fails without writing anything.
 */
const writeOf = (parts: readonly Part[]): string => `
  WITH move AS MATERIALIZED (
    SELECT * FROM json_to_recordset($1::json) AS move
      (user_id uuid, version xid, rev bigint, max_ms bigint, entries int, bytes bigint, usage jsonb,
       client_id uuid, device_id uuid, last_seq bigint, acked_rev bigint, pending int, upon int)
  ), locked AS MATERIALIZED (
    SELECT head.place, move.* FROM move
    CROSS JOIN LATERAL (
      SELECT ctid AS place FROM user_state.user_heads
      WHERE user_id = move.user_id AND xmin = move.version
      LIMIT 1 FOR UPDATE SKIP LOCKED
    ) AS head
  ), head AS (
    UPDATE user_state.user_heads AS head
    SET rev = locked.rev, max_ms = greatest(head.max_ms, locked.max_ms), entries = locked.entries, bytes = locked.bytes,
        usage = locked.usage
    FROM locked WHERE head.ctid = locked.place
    RETURNING head.user_id, head.xmin::text AS version, locked.client_id, locked.device_id, locked.last_seq,
              locked.acked_rev, locked.pending, locked.upon
  ), client AS (
    INSERT INTO user_state.sync_clients AS client
      (user_id, client_id, device_id, last_seq, acked_rev, pending, seen_at)
    SELECT user_id, client_id, device_id, last_seq, acked_rev, pending, statement_timestamp() FROM head
    ON CONFLICT (user_id, client_id) DO UPDATE
    SET last_seq = excluded.last_seq, acked_rev = greatest(client.acked_rev, excluded.acked_rev),
        pending = excluded.pending, seen_at = excluded.seen_at
  )${parts.map((part, index) => `, ${part} AS (${WRITES[part](`$${index + 2}::jsonb`)}\n  )`).join("")}
  SELECT user_id, version, floor(extract(epoch FROM statement_timestamp()) * 1000)::float8 AS server_now,
         1 / (upon = ${parts.includes("changed") ? "(SELECT count(*) FROM changed WHERE changed.user_id = head.user_id)" : 0})::int AS is_whole
  FROM head`;

/** A settled push, with the state it was settled on. */
export interface Settled {
  readonly userId: string;
  readonly deviceId: string;
  readonly push: Push;
  readonly met: Standing;
  readonly settlement: Settlement;
}

/** The head row as a write left it. */
export interface Moved {
  readonly version: string;
  /** The database's clock, milliseconds since the epoch. */
  readonly serverNow: number;
}

/**
 * Stores settlements, one per user; undefined where the head's version had changed and nothing was written. An
 * exception rolls all of them back.
 */
export async function writeSettlements(
  connection: Connection,
  settled: readonly Settled[],
): Promise<(Moved | undefined)[]> {
  const written = settled.map(unitsOf);
  const rows: Readonly<Record<Part, readonly object[]>> = {
    answers: settled.flatMap(answersOf),
    added: written.flatMap(({ added }) => added),
    changed: written.flatMap(({ changed }) => changed),
    compacted: written.flatMap(({ changed }) => changed.filter(isTextAnew).map(nameOf)),
    appended: settled.flatMap(updatesOf),
  };
  const parts = PARTS.filter((part) => rows[part].length > 0);
  const moves = settled.map((one, index) => ({ ...moveOf(one), upon: written[index]?.changed.length }));
  const { rows: heads } = await connection.query<{ user_id: string; version: string; server_now: number }>({
    name: ["entry_write", ...parts].join("_"),
    text: writeOf(parts),
    values: [moves, ...parts.map((part) => rows[part])].map((each) => JSON.stringify(each)),
  });
  const moved = new Map(heads.map((row) => [row.user_id, { version: row.version, serverNow: row.server_now }]));
  return settled.map(({ userId }) => moved.get(userId));
}

/** A user's row of the `move` parameter. */
function moveOf({ userId, deviceId, push, met, settlement }: Settled): object {
  const { rev, serverNow, usage, lastSeq } = settlement;
  return {
    user_id: userId,
    version: met.version,
    rev,
    max_ms: serverNow,
    entries: usage.entries,
    bytes: usage.bytes,
    usage: usage.namespaces,
    client_id: push.clientId,
    device_id: deviceId,
    last_seq: lastSeq,
    acked_rev: Math.min(push.baseRev, rev),
    pending: pendingOn(push, settlement),
  };
}

/** How many changes still wait on the device: those behind the push, and those in it that were not settled. */
function pendingOn({ pending, ops }: Push, { outcomes }: Settlement): number | null {
  return pending === undefined ? null : pending + ops.length - outcomes.length;
}

function answersOf({ userId, settlement: { answers } }: Settled): object[] {
  return answers.map(({ seq, status, fault, rev }) => ({
    user_id: userId,
    seq,
    status,
    code: fault?.reason ?? null,
    message: fault?.message ?? null,
    rev,
  }));
}

interface UnitRow extends UnitName {
  readonly user_id: string;
  readonly kind: KindName;
  /** Null where the stored state stays unchanged. */
  readonly state: Json;
}

/** The units to insert (not met) and to update (met). */
function unitsOf({ userId, met, settlement }: Settled): { added: UnitRow[]; changed: UnitRow[] } {
  const [added, changed]: [UnitRow[], UnitRow[]] = [[], []];
  for (const change of settlement.changes)
    (met.before.units.has(unitId(change)) ? changed : added).push(rowOf(userId, change));
  return { added, changed };
}

function rowOf(userId: string, change: Change): UnitRow & Readonly<Record<string, unknown>> {
  const { namespace, key, field, kind, state, deleted, ms, rev, schemaVersion, bytes, removedMs, expiresAt } = change;
  return {
    user_id: userId,
    namespace,
    key,
    field,
    kind,
    state: change.appended ? null : state,
    deleted,
    ms,
    rev,
    schema_version: schemaVersion,
    bytes,
    removed_ms: removedMs,
    expires_ms: expiresAt,
  };
}

function isTextAnew({ kind, state }: UnitRow): boolean {
  return kind === "TEXT" && state !== null;
}

function nameOf({ user_id, namespace, key, field }: UnitRow): object {
  return { user_id, namespace, key, field };
}

function updatesOf({ userId, settlement: { changes } }: Settled): object[] {
  return changes.flatMap(({ namespace, key, field, appended }) =>
    (appended ?? []).map(({ rev, update }) => ({ user_id: userId, namespace, key, field, rev, update })),
  );
}
