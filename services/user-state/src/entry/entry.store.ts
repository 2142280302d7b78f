/**
 * Entries in Postgres, two statements a push, whatever its size: one reads what it meets, the other writes if the head row is
 * still the version that was read. Whoever changes anything of a user changes that row, so nothing else has changed either.
 * What loses that race, or would be refused, is settled again under the lock of the row.
 */
import type { Json, KindName } from "@continuo/merge";
import { DatabaseError, type ClientBase, type Pool } from "pg";
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
  ON CONFLICT (user_id) DO UPDATE SET max_ms = greatest(head.max_ms, excluded.max_ms)`;

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

const SERVER_NOW = "greatest(head.max_ms, floor(extract(epoch FROM statement_timestamp()) * 1000)::bigint)";

/**
 * The head, and what each op meets: $3 to $6 are one element an op. Under a lock a statement of its own, for its snapshot must
 * be younger. A number that expired is nothing: no later one could be held against it.
 */
export const READ_STANDING = `
  SELECT head.xmin::text AS version, head.epoch, head.rev::float8, head.pruned_rev::float8, head.clients_pruned_before,
         ${SERVER_NOW}::float8 AS max_ms, head.entries, head.bytes::float8, head.usage, head.erased,
         client.device_id, client.last_seq::float8,
         EXISTS (
           SELECT FROM user_state.state_entries
           WHERE user_id = $1 AND expires_at <= to_timestamp(${SERVER_NOW}::float8 / 1000)
         ) AS has_expired,
         (
           SELECT json_agg(json_build_array(
             op.namespace, op.key, op.field, entry.kind, entry.state, entry.rev, entry.schema_version, entry.bytes,
             entry.removed_ms, CASE WHEN entry.kind = 'TEXT' THEN ${textUpdatesOf("$1", "entry")} END
           ))
           FROM unnest($3::text[], $4::text[], $5::text[]) AS op (namespace, key, field)
           JOIN user_state.state_entries AS entry
             ON entry.user_id = $1 AND entry.namespace = op.namespace AND entry.key = op.key AND entry.field = op.field
             AND NOT (entry.deleted AND entry.kind IN (${KINDS_THAT_STAY.map((kind) => `'${kind}'`).join(", ")}))
         ) AS units,
         (
           SELECT json_agg(json_build_array(answer.seq, answer.status, answer.code, answer.message, answer.rev))
           FROM user_state.op_outcomes AS answer
           WHERE answer.user_id = $1 AND answer.client_id = $2 AND answer.seq = ANY ($6::bigint[])
         ) AS answers
  FROM user_state.user_heads AS head
  LEFT JOIN user_state.sync_clients AS client ON client.user_id = $1 AND client.client_id = $2
  WHERE head.user_id = $1`;

/**
 * Nothing at all unless the head is of version $14. $13 are the units to store, one element each; `more` goes with them, and
 * is held back in the same way by `head`.
 */
const writeWith = (more: string): string => `
  WITH head AS (
    UPDATE user_state.user_heads
    SET rev = $2, max_ms = greatest(max_ms, $3), entries = $4, bytes = $5, usage = $6
    WHERE user_id = $1 AND xmin = $14::text::xid
    RETURNING user_id
  ), client AS (
    INSERT INTO user_state.sync_clients AS client
      (user_id, client_id, device_id, last_seq, acked_rev, pending, seen_at)
    SELECT user_id, $7::uuid, $8::uuid, $9::bigint, $10::bigint, $11::int, statement_timestamp() FROM head
    ON CONFLICT (user_id, client_id) DO UPDATE
    SET last_seq = excluded.last_seq, acked_rev = greatest(client.acked_rev, excluded.acked_rev),
        pending = excluded.pending, seen_at = excluded.seen_at
  ), answers AS (
    INSERT INTO user_state.op_outcomes (user_id, client_id, seq, status, code, message, rev, at)
    SELECT user_id, $7, seq, status, code, message, rev, statement_timestamp()
    FROM head, jsonb_to_recordset($12::jsonb) AS answer (seq bigint, status text, code text, message text, rev bigint)
    ON CONFLICT (user_id, client_id, seq) DO NOTHING
  )${more}, stored AS (
    INSERT INTO user_state.state_entries
      (user_id, namespace, key, field, kind, state, deleted, ms, rev, schema_version, bytes, removed_ms, expires_at)
    SELECT user_id, namespace, key, field, kind, state, deleted, ms, rev, schema_version, bytes, removed_ms,
           to_timestamp(expires_ms::float8 / 1000)
    FROM head, jsonb_to_recordset($13::jsonb) AS change
      (namespace text, key text, field text, kind text, state jsonb, deleted boolean, ms bigint, rev bigint,
       schema_version int, bytes int, removed_ms bigint, expires_ms bigint)
    ON CONFLICT (user_id, namespace, key, field) DO UPDATE SET
      kind = excluded.kind, state = excluded.state, deleted = excluded.deleted, ms = excluded.ms, rev = excluded.rev,
      schema_version = excluded.schema_version, bytes = excluded.bytes, removed_ms = excluded.removed_ms,
      expires_at = excluded.expires_at
  )
  SELECT FROM head`;

const WRITE = writeWith("");

/**
 * A text whose state is stored anew has no updates beside it any more. To the others updates are added ($16), and their
 * state, which Postgres keeps apart from the row ($15), is not touched.
 */
const WRITE_WITH_TEXTS = writeWith(`, compacted AS (
    DELETE FROM user_state.text_updates AS stored
    USING head, jsonb_to_recordset($13::jsonb) AS change (namespace text, key text, field text, kind text)
    WHERE change.kind = 'TEXT' AND stored.user_id = head.user_id
      AND stored.namespace = change.namespace AND stored.key = change.key AND stored.field = change.field
  ), grown AS (
    UPDATE user_state.state_entries AS entry
    SET deleted = change.deleted, ms = change.ms, rev = change.rev, schema_version = change.schema_version,
        bytes = change.bytes, removed_ms = change.removed_ms, expires_at = to_timestamp(change.expires_ms::float8 / 1000)
    FROM head, jsonb_to_recordset($15::jsonb) AS change
      (namespace text, key text, field text, deleted boolean, ms bigint, rev bigint, schema_version int, bytes int,
       removed_ms bigint, expires_ms bigint)
    WHERE entry.user_id = head.user_id
      AND entry.namespace = change.namespace AND entry.key = change.key AND entry.field = change.field
  ), appended AS (
    INSERT INTO user_state.text_updates (user_id, namespace, key, field, rev, update)
    SELECT user_id, namespace, key, field, rev, update
    FROM head, jsonb_to_recordset($16::jsonb) AS appended (namespace text, key text, field text, rev bigint, update text)
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

/** In the order in which READ_STANDING tells them. */
type UnitRow = readonly [
  namespace: string,
  key: string,
  field: string,
  kind: KindName,
  state: Json,
  rev: number,
  schemaVersion: number,
  bytes: number,
  removedMs: number | null,
  updates: readonly string[] | null,
];
type AnswerRow = readonly [
  seq: number,
  status: Answer["status"],
  code: Fault["reason"] | null,
  message: string | null,
  rev: number | null,
];

interface StandingRow extends HeadRow, ClientColumns {
  /** Of the head row. */
  readonly version: string;
  readonly has_expired: boolean;
  readonly units: readonly UnitRow[] | null;
  readonly answers: readonly AnswerRow[] | null;
}

/** Of a replica, if it is known. */
interface ClientColumns {
  readonly device_id: string | null;
  readonly last_seq: number | null;
}

/** Entries in the `user_state` schema, through `pool`. */
export function createEntryStore(pool: Pool): EntryStore {
  return {
    async settle(request, decide) {
      try {
        return (await settleUnlocked(pool, request, decide)) ?? (await settleLocked(pool, request, decide));
      } catch (cause) {
        throw isPassing(cause) ? new PassingFault("the push was undone", { cause }) : cause;
      }
    },
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

type Request = Parameters<EntryStore["settle"]>[0];
type Decide = Parameters<EntryStore["settle"]>[1];

/** Undefined when it takes the lock to say what becomes of the push: somebody else was faster, or it would be refused. */
async function settleUnlocked(pool: Pool, request: Request, decide: Decide): Promise<Settlement | undefined> {
  const read = await readBefore(pool, request);
  if (read === undefined || read.hasExpired) return undefined;
  let settlement: Settlement;
  try {
    settlement = decide(read.before);
  } catch {
    return undefined;
  }
  if (settlement.stop !== null) return undefined;
  if (!isNews(settlement, read.before)) return settlement;
  return (await write(pool, request, settlement, read.version)) ? settlement : undefined;
}

async function settleLocked(pool: Pool, request: Request, decide: Decide): Promise<Settlement> {
  return inTransaction(pool, async (connection) => {
    await connection.query({ name: "entry_lock_head", text: LOCK_HEAD, values: [request.userId, request.newEpoch] });
    let read = await readBefore(connection, request);
    // So that nothing of it is met, and no quota counts it.
    while (read?.hasExpired) {
      await buryExpired(connection, request.userId);
      read = await readBefore(connection, request);
    }
    if (read === undefined) throw new Error("a locked row is not there");
    const settlement = decide(read.before);
    if (isNews(settlement, read.before) && !(await write(connection, request, settlement, read.version)))
      throw new Error("a locked row was changed");
    return settlement;
  });
}

function isNews({ lastSeq }: Settlement, { client }: Before): boolean {
  return lastSeq !== (client?.lastSeq ?? 0);
}

type Connection = Pick<ClientBase, "query">;

interface Read {
  readonly before: Before;
  /** Of the head row. */
  readonly version: string;
  readonly hasExpired: boolean;
}

/** One snapshot; undefined when the user has no head. */
async function readBefore(connection: Connection, { userId, push }: Request): Promise<Read | undefined> {
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
    ],
  });
  const [row] = rows;
  if (row === undefined) return undefined;
  const before = {
    ...headOf(row),
    client: clientOf(row),
    units: new Map(row.units?.map(unitOf)),
    answers: new Map(row.answers?.map(answerOf)),
  };
  return { before, version: row.version, hasExpired: row.has_expired };
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

/** Each unit once. The names of a faulty op may be such as Postgres does not take, and those of what is not stored are not shown to it. */
function addressesOf(ops: readonly JudgedOp[]): UnitName[] {
  const met = new Map<string, UnitName>();
  for (const { op, isStored } of ops)
    if (isStored && isName(op.namespace) && isName(op.key) && isName(op.field)) met.set(unitId(op), op);
  return [...met.values()];
}

function unitOf([namespace, key, field, kind, state, rev, schemaVersion, bytes, removedMs, updates]: UnitRow) {
  const unit: Unit = { kind, state: stateOf({ state, updates }), rev, schemaVersion, bytes, removedMs };
  return [unitId({ namespace, key, field }), unit] as const;
}

function answerOf([seq, status, code, message, rev]: AnswerRow) {
  const fault = code === null ? undefined : { reason: code, message: message ?? "" };
  return [seq, { seq, status, fault, rev }] as const;
}

/** Whether the head was still of that version; if not, nothing was written. */
async function write(
  connection: Connection,
  { userId, deviceId, push }: Request,
  settlement: Settlement,
  version: string,
): Promise<boolean> {
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
  const { rowCount } = await connection.query({
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
      version,
      ...(withTexts
        ? [
            JSON.stringify(rows.flatMap(({ row, updates }) => (updates === undefined ? [] : [row]))),
            JSON.stringify(rows.flatMap(({ updates }) => updates ?? [])),
          ]
        : []),
    ],
  });
  return rowCount === 1;
}

/** How many changes still wait on the device: those behind the push, and those of it that were not settled. */
function pendingOn({ pending, ops }: Push, { outcomes }: Settlement): number | null {
  return pending === undefined ? null : pending + ops.length - outcomes.length;
}
