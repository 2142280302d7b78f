/** Entries in Postgres: three statements a push, whatever its size. */
import type { Json, KindName } from "@continuo/merge";
import { DatabaseError, type Pool, type PoolClient } from "pg";
import { inTransaction } from "@continuo/database";
import { PassingFault, type EntryStore } from "./entry.ts";
import { buryExpired } from "./expiry.store.ts";
import { isName, type Fault, type JudgedOp } from "./op.ts";
import type { Usage } from "./quota.ts";
import { unitId, type Answer, type Before, type Push, type Settlement } from "./settle.ts";
import { KINDS_THAT_STAY, type Unit, type UnitName } from "./unit.ts";
import { stateOf, textUpdatesOf } from "./unit.store.ts";

/** Makes or locks the head row. Until the commit no other push of this user passes, so revisions become visible in order. */
const LOCK_HEAD = `
  INSERT INTO user_state.user_heads AS head (user_id, epoch, max_ms)
  VALUES ($1, $2, floor(extract(epoch FROM statement_timestamp()) * 1000)::bigint)
  ON CONFLICT (user_id) DO UPDATE SET max_ms = greatest(head.max_ms, excluded.max_ms)
  RETURNING epoch, rev::float8, pruned_rev::float8, clients_pruned_before, max_ms::float8, entries, bytes::float8, usage,
            erased`;

/** The same of a user that may have none, without the lock. */
const LOOK_AT_HEAD = `
  SELECT coalesce(head.epoch, $2) AS epoch, coalesce(head.rev, 0)::float8 AS rev,
         coalesce(head.pruned_rev, 0)::float8 AS pruned_rev, head.clients_pruned_before,
         greatest(head.max_ms, floor(extract(epoch FROM statement_timestamp()) * 1000)::bigint)::float8 AS max_ms,
         coalesce(head.entries, 0) AS entries, coalesce(head.bytes, 0)::float8 AS bytes, coalesce(head.usage, '{}') AS usage,
         coalesce(head.erased, '{}') AS erased,
         client.device_id, client.last_seq::float8
  FROM (VALUES ($1::uuid)) AS asked (user_id)
  LEFT JOIN user_state.user_heads AS head ON head.user_id = asked.user_id
  LEFT JOIN user_state.sync_clients AS client ON client.user_id = asked.user_id AND client.client_id = $3`;

/** SQLSTATE: serialization failure, deadlock, a lock that was not to be had in time, a statement that took too long. */
const PASSING = new Set(["40001", "40P01", "55P03", "57014"]);

/**
 * What each op meets. A statement of its own: its snapshot must be younger than the lock. $3 to $6 are one element an op,
 * $7 is the server's clock. A number that expired is nothing: no later one could be held against it.
 */
export const READ_STANDING = `
  SELECT op.namespace, op.key, op.field,
         entry.kind, entry.state, entry.rev::float8, entry.schema_version, entry.bytes, entry.removed_ms::float8,
         CASE WHEN entry.kind = 'TEXT' THEN ${textUpdatesOf("$1", "entry")} END AS updates,
         op.seq::float8, answer.status, answer.code, answer.message, answer.rev::float8 AS answer_rev,
         client.device_id, client.last_seq::float8,
         EXISTS (
           SELECT FROM user_state.state_entries
           WHERE user_id = $1 AND expires_at <= to_timestamp($7::float8 / 1000)
         ) AS has_expired
  FROM unnest($3::text[], $4::text[], $5::text[], $6::bigint[]) AS op (namespace, key, field, seq)
  LEFT JOIN user_state.state_entries AS entry
    ON entry.user_id = $1 AND entry.namespace = op.namespace AND entry.key = op.key AND entry.field = op.field
    AND NOT (entry.deleted AND entry.kind IN (${KINDS_THAT_STAY.map((kind) => `'${kind}'`).join(", ")}))
  LEFT JOIN user_state.op_outcomes AS answer
    ON answer.user_id = $1 AND answer.client_id = $2 AND answer.seq = op.seq
  LEFT JOIN user_state.sync_clients AS client ON client.user_id = $1 AND client.client_id = $2`;

/** $13 are the units to store, one element each; `more` goes with them. */
const writeWith = (more: string): string => `
  WITH head AS (
    UPDATE user_state.user_heads
    SET rev = $2, max_ms = greatest(max_ms, $3), entries = $4, bytes = $5, usage = $6
    WHERE user_id = $1
  ), client AS (
    INSERT INTO user_state.sync_clients AS client
      (user_id, client_id, device_id, last_seq, acked_rev, pending, seen_at)
    VALUES ($1, $7, $8, $9, $10, $11, statement_timestamp())
    ON CONFLICT (user_id, client_id) DO UPDATE
    SET last_seq = excluded.last_seq, acked_rev = greatest(client.acked_rev, excluded.acked_rev),
        pending = excluded.pending, seen_at = excluded.seen_at
  ), answers AS (
    INSERT INTO user_state.op_outcomes (user_id, client_id, seq, status, code, message, rev, at)
    SELECT $1, $7, seq, status, code, message, rev, statement_timestamp()
    FROM jsonb_to_recordset($12::jsonb) AS answer (seq bigint, status text, code text, message text, rev bigint)
    ON CONFLICT (user_id, client_id, seq) DO NOTHING
  )${more}
  INSERT INTO user_state.state_entries
    (user_id, namespace, key, field, kind, state, deleted, ms, rev, schema_version, bytes, removed_ms, expires_at)
  SELECT $1, namespace, key, field, kind, state, deleted, ms, rev, schema_version, bytes, removed_ms,
         to_timestamp(expires_ms::float8 / 1000)
  FROM jsonb_to_recordset($13::jsonb) AS change
    (namespace text, key text, field text, kind text, state jsonb, deleted boolean, ms bigint, rev bigint,
     schema_version int, bytes int, removed_ms bigint, expires_ms bigint)
  ON CONFLICT (user_id, namespace, key, field) DO UPDATE SET
    kind = excluded.kind, state = excluded.state, deleted = excluded.deleted, ms = excluded.ms, rev = excluded.rev,
    schema_version = excluded.schema_version, bytes = excluded.bytes, removed_ms = excluded.removed_ms,
    expires_at = excluded.expires_at`;

const WRITE = writeWith("");

/**
 * A text whose state is stored anew has no updates beside it any more. To the others updates are added ($15), and their
 * state, which Postgres keeps apart from the row ($14), is not touched.
 */
const WRITE_WITH_TEXTS = writeWith(`, compacted AS (
    DELETE FROM user_state.text_updates AS stored
    USING jsonb_to_recordset($13::jsonb) AS change (namespace text, key text, field text, kind text)
    WHERE change.kind = 'TEXT' AND stored.user_id = $1
      AND stored.namespace = change.namespace AND stored.key = change.key AND stored.field = change.field
  ), grown AS (
    UPDATE user_state.state_entries AS entry
    SET deleted = change.deleted, ms = change.ms, rev = change.rev, schema_version = change.schema_version,
        bytes = change.bytes, removed_ms = change.removed_ms, expires_at = to_timestamp(change.expires_ms::float8 / 1000)
    FROM jsonb_to_recordset($14::jsonb) AS change
      (namespace text, key text, field text, deleted boolean, ms bigint, rev bigint, schema_version int, bytes int,
       removed_ms bigint, expires_ms bigint)
    WHERE entry.user_id = $1
      AND entry.namespace = change.namespace AND entry.key = change.key AND entry.field = change.field
  ), appended AS (
    INSERT INTO user_state.text_updates (user_id, namespace, key, field, rev, update)
    SELECT $1, namespace, key, field, rev, update
    FROM jsonb_to_recordset($15::jsonb) AS appended (namespace text, key text, field text, rev bigint, update text)
  )`);

interface HeadRow {
  readonly epoch: string;
  readonly rev: number;
  readonly pruned_rev: number;
  readonly clients_pruned_before: Date | null;
  readonly max_ms: number;
  readonly entries: number;
  readonly bytes: number;
  readonly usage: Usage["namespaces"];
  readonly erased: Before["erased"];
}

interface EntryColumns {
  readonly kind: KindName;
  readonly state: Json;
  readonly rev: number;
  readonly schema_version: number;
  readonly bytes: number;
  readonly removed_ms: number | null;
  readonly updates: readonly string[] | null;
}

type Nullable<Columns> = { readonly [Name in keyof Columns]: Columns[Name] | null };

/** One row an op; each of the three joins may have found nothing. */
type StandingRow = (EntryColumns | (Nullable<EntryColumns> & { readonly kind: null })) &
  UnitName &
  ClientColumns & {
    readonly seq: number;
    readonly status: Answer["status"] | null;
    readonly code: Fault["reason"] | null;
    readonly message: string | null;
    readonly answer_rev: number | null;
    readonly has_expired: boolean;
  };

/** Of a replica, if it is known. */
interface ClientColumns {
  readonly device_id: string | null;
  readonly last_seq: number | null;
}

/** Entries in the `user_state` schema, through `pool`. */
export function createEntryStore(pool: Pool): EntryStore {
  return {
    settle: ({ userId, deviceId, newEpoch, push }, decide) =>
      inTransaction(pool, async (connection) => {
        let before = await readBefore(connection, userId, newEpoch, push);
        // So that nothing of it is met, and no quota counts it.
        while (before.hasExpired) {
          await buryExpired(connection, userId);
          before = await readBefore(connection, userId, newEpoch, push);
        }
        const settlement = decide(before);
        if (settlement.lastSeq !== (before.client?.lastSeq ?? 0))
          await write(connection, { userId, deviceId, push, settlement });
        return settlement;
      }).catch((cause: unknown) => {
        throw isPassing(cause) ? new PassingFault("the push was undone", { cause }) : cause;
      }),
    async look({ userId, clientId, newEpoch }) {
      const { rows } = await pool.query<HeadRow & ClientColumns>({
        name: "entry_look_at_head",
        text: LOOK_AT_HEAD,
        values: [userId, newEpoch, clientId],
      });
      const [row] = rows;
      if (row === undefined) throw new Error("a row of constants is not there");
      return { ...headOf(row), client: clientOf(row), units: new Map(), answers: new Map() };
    },
  };
}

function isPassing(cause: unknown): boolean {
  return cause instanceof DatabaseError && cause.code !== undefined && PASSING.has(cause.code);
}

async function readBefore(
  connection: PoolClient,
  userId: string,
  newEpoch: string,
  push: Push,
): Promise<Before & { readonly hasExpired: boolean }> {
  const { rows: heads } = await connection.query<HeadRow>({
    name: "entry_lock_head",
    text: LOCK_HEAD,
    values: [userId, newEpoch],
  });
  const head = heads[0];
  if (head === undefined) throw new Error("an upsert returned no row");

  const units = addressesOf(push.ops);
  const { rows } = await connection.query<StandingRow>({
    name: "entry_read_standing",
    text: READ_STANDING,
    values: [
      userId,
      push.clientId,
      units.map(({ namespace }) => namespace),
      units.map(({ key }) => key),
      units.map(({ field }) => field),
      push.ops.map(({ op }) => op.seq),
      head.max_ms,
    ],
  });
  return {
    hasExpired: rows[0]?.has_expired ?? false,
    ...headOf(head),
    client: rows[0] && clientOf(rows[0]),
    units: new Map(rows.flatMap((row) => (row.kind === null ? [] : [[unitId(row), unitOf(row)] as const]))),
    answers: new Map(
      rows.flatMap(({ seq, status, code, message, answer_rev: rev }) => {
        if (status === null) return [];
        const fault = code === null ? undefined : { reason: code, message: message ?? "" };
        return [[seq, { seq, status, fault, rev }] as const];
      }),
    ),
  };
}

function headOf(head: HeadRow): Omit<Before, "client" | "units" | "answers"> {
  return {
    epoch: head.epoch,
    rev: head.rev,
    prunedRev: head.pruned_rev,
    erased: head.erased,
    clientsPrunedBefore: head.clients_pruned_before,
    serverNow: head.max_ms,
    usage: { entries: head.entries, bytes: head.bytes, namespaces: head.usage },
  };
}

function clientOf({ device_id: deviceId, last_seq: lastSeq }: ClientColumns): Before["client"] {
  return deviceId === null || lastSeq === null ? undefined : { deviceId, lastSeq };
}

const NOWHERE: UnitName = { namespace: "", key: "", field: "" };

/** Each unit once. The names of a faulty op may be such as Postgres does not take, and those of what is not stored are not shown to it. */
function addressesOf(ops: readonly JudgedOp[]): UnitName[] {
  const met = new Set<string>();
  return ops.map(({ op, isStored }) => {
    const id = unitId(op);
    if (!isStored || met.has(id) || ![op.namespace, op.key, op.field].every(isName)) return NOWHERE;
    met.add(id);
    return op;
  });
}

function unitOf({ kind, rev, schema_version, bytes, removed_ms, ...row }: EntryColumns): Unit {
  return { kind, state: stateOf(row), rev, schemaVersion: schema_version, bytes, removedMs: removed_ms };
}

async function write(
  connection: PoolClient,
  what: { userId: string; deviceId: string; push: Push; settlement: Settlement },
): Promise<void> {
  const { userId, deviceId, push, settlement } = what;
  const { rev, serverNow, usage, lastSeq, answers, changes } = settlement;
  const rows = changes.map(({ namespace, key, field, kind, state, deleted, ms, rev, bytes, appended, ...change }) => ({
    row: {
      namespace,
      key,
      field,
      deleted,
      ms,
      rev,
      schema_version: change.schemaVersion,
      bytes,
      removed_ms: change.removedMs,
      expires_ms: change.expiresAt,
    },
    stored: { kind, state },
    updates: appended?.map(({ rev, update }) => ({ namespace, key, field, rev, update })),
  }));
  const withTexts = changes.some(({ kind }) => kind === "TEXT");
  await connection.query({
    name: withTexts ? "entry_write_with_texts" : "entry_write",
    text: withTexts ? WRITE_WITH_TEXTS : WRITE,
    values: [
      userId,
      rev,
      serverNow,
      usage.entries,
      usage.bytes,
      JSON.stringify(usage.namespaces),
      push.clientId,
      deviceId,
      lastSeq,
      Math.min(push.baseRev, rev),
      pendingOn(push, settlement),
      JSON.stringify(
        answers.map(({ seq, status, fault, rev }) => ({
          seq,
          status,
          code: fault?.reason ?? null,
          message: fault?.message ?? null,
          rev,
        })),
      ),
      JSON.stringify(
        rows.flatMap(({ row, stored, updates }) => (updates === undefined ? [{ ...row, ...stored }] : [])),
      ),
      ...(withTexts
        ? [
            JSON.stringify(rows.flatMap(({ row, updates }) => (updates === undefined ? [] : [row]))),
            JSON.stringify(rows.flatMap(({ updates }) => updates ?? [])),
          ]
        : []),
    ],
  });
}

/** How many changes still wait on the device: those behind the push, and those of it that were not settled. */
function pendingOn({ pending, ops }: Push, { outcomes }: Settlement): number | null {
  return pending === undefined ? null : pending + ops.length - outcomes.length;
}
