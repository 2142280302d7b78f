/** Entries in Postgres: three statements a push, whatever its size. */
import type { Json, Write } from "@continuo/merge";
import type { Pool, PoolClient } from "pg";
import { inTransaction } from "@continuo/database";
import type { Kind } from "../namespace/namespace.ts";
import type { EntryStore } from "./entry.ts";
import type { JudgedOp } from "./op.ts";
import { unitId, type Answer, type Before, type Push, type Settlement, type Standing } from "./settle.ts";

/** Makes or locks the head row. Until the commit no other push of this user passes, so revisions become visible in order. */
const LOCK_HEAD = `
  INSERT INTO user_state.user_heads AS head (user_id, epoch, max_ms)
  VALUES ($1, $2, floor(extract(epoch FROM statement_timestamp()) * 1000)::bigint)
  ON CONFLICT (user_id) DO UPDATE SET max_ms = greatest(head.max_ms, excluded.max_ms)
  RETURNING epoch, rev::float8, pruned_rev::float8, clients_pruned_before, max_ms::float8`;

/** What each op meets. A statement of its own: its snapshot must be younger than the lock. $3 to $6 are one element an op. */
export const READ_STANDING = `
  SELECT op.namespace, op.key, op.field,
         entry.kind, entry.value, entry.deleted, entry.ms::float8, entry.counter, entry.node, entry.history,
         entry.rev::float8, entry.bytes, entry.by_seq::float8, entry.schema_version,
         op.seq::float8, answer.status, answer.code, answer.message, answer.rev::float8 AS answer_rev,
         client.device_id, client.last_seq::float8
  FROM unnest($3::text[], $4::text[], $5::text[], $6::bigint[]) AS op (namespace, key, field, seq)
  LEFT JOIN user_state.state_entries AS entry
    ON entry.user_id = $1 AND entry.namespace = op.namespace AND entry.key = op.key AND entry.field = op.field
  LEFT JOIN user_state.op_outcomes AS answer
    ON answer.user_id = $1 AND answer.client_id = $2 AND answer.seq = op.seq
  LEFT JOIN user_state.sync_clients AS client ON client.user_id = $1 AND client.client_id = $2`;

const WRITE = `
  WITH head AS (
    UPDATE user_state.user_heads
    SET rev = $2, max_ms = greatest(max_ms, $3), entries = entries + $4, bytes = bytes + $5
    WHERE user_id = $1
  ), client AS (
    INSERT INTO user_state.sync_clients AS client (user_id, client_id, device_id, last_seq, acked_rev, seen_at)
    VALUES ($1, $6, $7, $8, $9, statement_timestamp())
    ON CONFLICT (user_id, client_id) DO UPDATE
    SET last_seq = excluded.last_seq, acked_rev = greatest(client.acked_rev, excluded.acked_rev), seen_at = excluded.seen_at
  ), answers AS (
    INSERT INTO user_state.op_outcomes (user_id, client_id, seq, status, code, message, rev, at)
    SELECT $1, $6, seq, status, code, message, rev, statement_timestamp()
    FROM jsonb_to_recordset($10::jsonb) AS answer (seq bigint, status text, code text, message text, rev bigint)
    ON CONFLICT (user_id, client_id, seq) DO NOTHING
  )
  INSERT INTO user_state.state_entries
    (user_id, namespace, key, field, kind, value, ms, counter, node, rev, by_client, by_seq, deleted, schema_version, bytes, history)
  SELECT $1, namespace, key, field, kind, value, ms, counter, node, rev, node, by_seq, deleted, schema_version, bytes, history
  FROM jsonb_to_recordset($11::jsonb) AS change
    (namespace text, key text, field text, kind text, value jsonb, ms bigint, counter int, node uuid, rev bigint,
     by_seq bigint, deleted boolean, schema_version int, bytes int, history jsonb)
  ON CONFLICT (user_id, namespace, key, field) DO UPDATE SET
    kind = excluded.kind, value = excluded.value, ms = excluded.ms, counter = excluded.counter, node = excluded.node,
    rev = excluded.rev, by_client = excluded.by_client, by_seq = excluded.by_seq, deleted = excluded.deleted,
    schema_version = excluded.schema_version, bytes = excluded.bytes, history = excluded.history`;

interface HeadRow {
  readonly epoch: string;
  readonly rev: number;
  readonly pruned_rev: number;
  readonly clients_pruned_before: Date | null;
  readonly max_ms: number;
}

interface EntryColumns {
  readonly kind: Kind;
  readonly value: Json;
  readonly deleted: boolean;
  readonly ms: number;
  readonly counter: number;
  readonly node: string;
  readonly history: readonly Write[] | null;
  readonly rev: number;
  readonly bytes: number;
  readonly by_seq: number;
  readonly schema_version: number;
}

type Nullable<Columns> = { readonly [Name in keyof Columns]: Columns[Name] | null };

/** One row an op; each of the three joins may have found nothing. */
type StandingRow = (EntryColumns | (Nullable<EntryColumns> & { readonly kind: null })) & {
  readonly namespace: string;
  readonly key: string;
  readonly field: string;
  readonly seq: number;
  readonly status: Answer["status"] | null;
  readonly code: string | null;
  readonly message: string | null;
  readonly answer_rev: number | null;
  readonly device_id: string | null;
  readonly last_seq: number | null;
};

/** Entries in the `user_state` schema, through `pool`. */
export function createEntryStore(pool: Pool): EntryStore {
  return {
    settle: ({ userId, deviceId, newEpoch, push }, decide) =>
      inTransaction(pool, async (connection) => {
        const before = await readBefore(connection, userId, newEpoch, push);
        const settlement = decide(before);
        if (settlement.lastSeq !== (before.client?.lastSeq ?? 0))
          await write(connection, { userId, deviceId, push, settlement });
        return settlement;
      }),
  };
}

async function readBefore(connection: PoolClient, userId: string, newEpoch: string, push: Push): Promise<Before> {
  const { rows: heads } = await connection.query<HeadRow>({
    name: "entry_lock_head",
    text: LOCK_HEAD,
    values: [userId, newEpoch],
  });
  const head = heads[0];
  if (head === undefined) throw new Error("an upsert returned no row");

  const units = push.ops.map(addressOf);
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
    ],
  });
  const client = rows[0];
  return {
    epoch: head.epoch,
    rev: head.rev,
    prunedRev: head.pruned_rev,
    clientsPrunedBefore: head.clients_pruned_before,
    serverNow: head.max_ms,
    client:
      client === undefined || client.device_id === null || client.last_seq === null
        ? undefined
        : { deviceId: client.device_id, lastSeq: client.last_seq },
    units: new Map(rows.flatMap((row) => (row.kind === null ? [] : [[unitId(row), standingOf(row)] as const]))),
    answers: new Map(
      rows.flatMap(({ seq, status, code, message, answer_rev: rev }) => {
        if (status === null) return [];
        const fault = code === null ? undefined : { reason: code, message: message ?? "" };
        return [[seq, { seq, status, fault, rev }] as const];
      }),
    ),
  };
}

/** A faulty op touches no unit, and its names may be such as Postgres does not take. */
function addressOf(judged: JudgedOp): { namespace: string; key: string; field: string } {
  return "fault" in judged ? { namespace: "", key: "", field: "" } : judged.op;
}

function standingOf(row: EntryColumns): Standing {
  const { kind, value, deleted, ms, counter, node, history, rev, bytes, by_seq, schema_version } = row;
  const standing = { value, deleted, stamp: { ms, counter, clientId: node } };
  return { unit: { kind, standing, history: history ?? [] }, rev, bytes, bySeq: by_seq, schemaVersion: schema_version };
}

async function write(
  connection: PoolClient,
  what: { userId: string; deviceId: string; push: Push; settlement: Settlement },
): Promise<void> {
  const { userId, deviceId, push, settlement } = what;
  const { rev, serverNow, growth, lastSeq, answers, changes } = settlement;
  await connection.query({
    name: "entry_write",
    text: WRITE,
    values: [
      userId,
      rev,
      serverNow,
      growth.entries,
      growth.bytes,
      push.clientId,
      deviceId,
      lastSeq,
      Math.min(push.baseRev, rev),
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
        changes.map(({ op, unit, rev, bytes, bySeq, schemaVersion }) => ({
          namespace: op.namespace,
          key: op.key,
          field: op.field,
          kind: unit.kind,
          value: unit.standing.value,
          ms: unit.standing.stamp.ms,
          counter: unit.standing.stamp.counter,
          node: unit.standing.stamp.clientId,
          rev,
          by_seq: bySeq,
          deleted: unit.standing.deleted,
          schema_version: schemaVersion,
          bytes,
          history: unit.history.length > 0 ? unit.history : null,
        })),
      ),
    ],
  });
}
