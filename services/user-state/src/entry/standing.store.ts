/** What pushes meet in Postgres: heads, replicas, units and earlier outcomes, for many pushes in one statement. */
import type { Json, KindName } from "@continuo/merge";
import type { ClientBase } from "pg";
import { SERVER_NOW } from "../database/user-head.ts";
import { isName, type Fault, type ValidatedOp } from "./op.ts";
import type { Usage } from "./quota.ts";
import type { Answer, Before, Push } from "./push.ts";
import { KINDS_THAT_STAY, unitId, type Unit, type UnitName } from "./unit.ts";
import { stateOf, textUpdatesOf } from "./unit.store.ts";

export type Connection = Pick<ClientBase, "query">;

const STAYING = KINDS_THAT_STAY.map((kind) => `'${kind}'`).join(", ");

/**
 * Returns a row for each push in $1 whose user has a head, with what each of its ops meets. Under a lock this must be a
 * separate statement, because its snapshot must be younger than the lock. An expired MAX, MIN or COUNTER counts as
 * missing: it must not be compared with later values. `LIMIT 1` tells the planner that the key identifies one row, so
 * that it uses the index whatever it estimates the table's size to be.
 */
export const READ_STANDING = `
  SELECT asked.place, head.*, client.device_id, client.last_seq::float8,
         CASE WHEN client.device_id IS NULL THEN (
           SELECT count(*)::int FROM user_state.sync_clients
           WHERE user_id = asked.user_id AND device_id = asked.device_id
         ) ELSE 0 END AS siblings,
         (
           SELECT extract(epoch FROM min(expires_at))::float8 * 1000 FROM user_state.state_entries
           WHERE user_id = asked.user_id AND expires_at IS NOT NULL
         ) AS soonest_expiry,
         (
           SELECT json_agg(json_build_array(
             op.namespace, op.key, op.field, entry.kind, entry.state, entry.rev, entry.schema_version, entry.bytes,
             entry.removed_ms, CASE WHEN entry.kind = 'TEXT' THEN ${textUpdatesOf("asked.user_id", "op")} END
           ))
           FROM json_to_recordset(asked.units) AS op (namespace text, key text, field text)
           CROSS JOIN LATERAL (
             SELECT * FROM user_state.state_entries AS entry
             WHERE entry.user_id = asked.user_id
               AND entry.namespace = op.namespace AND entry.key = op.key AND entry.field = op.field
               AND NOT (entry.deleted AND entry.kind IN (${STAYING}))
             LIMIT 1
           ) AS entry
         ) AS units,
         (
           SELECT json_agg(json_build_array(answer.seq, answer.status, answer.code, answer.message, answer.rev))
           FROM user_state.op_outcomes AS answer
           WHERE answer.user_id = asked.user_id AND answer.client_id = asked.client_id AND answer.seq = ANY (asked.seqs)
         ) AS answers
  FROM json_to_recordset($1::json) AS asked (place int, user_id uuid, device_id uuid, client_id uuid, units json, seqs bigint[])
  CROSS JOIN LATERAL (
    SELECT head.xmin::text AS version, head.epoch, head.rev::float8, head.pruned_rev::float8,
           head.clients_pruned_before, ${SERVER_NOW}::float8 AS server_now, head.entries, head.bytes::float8,
           head.usage, head.erased
    FROM user_state.user_heads AS head
    WHERE head.user_id = asked.user_id
    LIMIT 1
  ) AS head
  LEFT JOIN LATERAL (
    SELECT device_id, last_seq FROM user_state.sync_clients
    WHERE user_id = asked.user_id AND client_id = asked.client_id
    LIMIT 1
  ) AS client ON true`;

/** The head of a user who may have none, and the replica's row. */
const LOOK_AT_HEAD = `
  SELECT coalesce(head.epoch, $2) AS epoch, coalesce(head.rev, 0)::float8 AS rev,
         coalesce(head.pruned_rev, 0)::float8 AS pruned_rev, head.clients_pruned_before,
         ${SERVER_NOW}::float8 AS server_now,
         coalesce(head.entries, 0) AS entries, coalesce(head.bytes, 0)::float8 AS bytes, coalesce(head.usage, '{}') AS usage,
         coalesce(head.erased, '{}') AS erased,
         client.device_id, client.last_seq::float8
  FROM (VALUES ($1::uuid)) AS asked (user_id)
  LEFT JOIN user_state.user_heads AS head ON head.user_id = asked.user_id
  LEFT JOIN user_state.sync_clients AS client ON client.user_id = asked.user_id AND client.client_id = $3`;

interface HeadRow {
  readonly epoch: string;
  readonly rev: number;
  readonly pruned_rev: number;
  readonly clients_pruned_before: Date | null;
  readonly server_now: number;
  readonly entries: number;
  readonly bytes: number;
  readonly usage: Usage["namespaces"];
  readonly erased: Before["erased"];
}

/** The replica's columns; null when it is unknown. */
interface ClientColumns {
  readonly device_id: string | null;
  readonly last_seq: number | null;
}

/** In the column order of READ_STANDING. */
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
  readonly place: number;
  readonly version: string;
  readonly siblings: number;
  readonly soonest_expiry: number | null;
  readonly units: readonly UnitRow[] | null;
  readonly answers: readonly AnswerRow[] | null;
}

/** What a push meets, with the version it was read at. */
export interface Standing {
  readonly before: Before;
  /** The version (xmin) of the head row, which every change of the user's state replaces. */
  readonly version: string;
  /** When the next unit expires, in milliseconds since the epoch; null: none does. */
  readonly soonestExpiry: number | null;
}

interface AskedPush {
  readonly userId: string;
  readonly deviceId: string;
  readonly push: Push;
}

/** Reads everything in one snapshot, in the order of `asked`; undefined for a user without a head. */
export async function readStandings(
  connection: Connection,
  asked: readonly AskedPush[],
): Promise<(Standing | undefined)[]> {
  const pushes = asked.map(({ userId, deviceId, push: { clientId, ops } }, place) => ({
    place,
    user_id: userId,
    device_id: deviceId,
    client_id: clientId,
    units: [...namesOf(ops).values()],
    seqs: ops.map(({ op }) => op.seq),
  }));
  const { rows } = await connection.query<StandingRow>({
    name: "entry_read_standing",
    text: READ_STANDING,
    values: [JSON.stringify(pushes)],
  });
  const found = new Map(rows.map((row) => [row.place, standingOf(row)]));
  return asked.map((_, place) => found.get(place));
}

/** Reads what a push would meet, without its units. */
export async function lookAtHead(
  connection: Connection,
  { userId, clientId, newEpoch }: { userId: string; clientId: string; newEpoch: () => string },
): Promise<Before> {
  const { rows } = await connection.query<HeadRow & ClientColumns>({
    name: "entry_look_at_head",
    text: LOOK_AT_HEAD,
    values: [userId, newEpoch(), clientId],
  });
  const [row] = rows;
  if (row === undefined) throw new Error("a row of constants is not there");
  return { ...headOf(row), client: clientOf(row), siblings: 0, units: new Map(), answers: new Map() };
}

function standingOf(row: StandingRow): Standing {
  const before = {
    ...headOf(row),
    client: clientOf(row),
    siblings: row.siblings,
    units: new Map(row.units?.map(unitOf)),
    answers: new Map(row.answers?.map(answerOf)),
  };
  return { before, version: row.version, soonestExpiry: row.soonest_expiry };
}

/** Whether any unit has expired. */
export function hasExpired({ before, soonestExpiry }: Standing): boolean {
  return soonestExpiry !== null && soonestExpiry <= before.serverNow;
}

function headOf(head: HeadRow): Omit<Before, "client" | "siblings" | "units" | "answers"> {
  return {
    epoch: head.epoch,
    rev: head.rev,
    prunedRev: head.pruned_rev,
    erased: head.erased,
    clientsPrunedBefore: head.clients_pruned_before,
    serverNow: head.server_now,
    usage: { entries: head.entries, bytes: head.bytes, namespaces: head.usage },
  };
}

function clientOf({ device_id: deviceId, last_seq: lastSeq }: ClientColumns): Before["client"] {
  return deviceId === null || lastSeq === null ? undefined : { deviceId, lastSeq };
}

/**
 * Each unit once, by `unitId`. A faulty op's names may be invalid in Postgres, and the names of ops that are not stored
 * must not be sent to it.
 */
export function namesOf(ops: readonly ValidatedOp[]): Map<string, UnitName> {
  const met = new Map<string, UnitName>();
  for (const { op, isStored } of ops)
    if (isStored && isName(op.namespace) && isName(op.key) && isName(op.field))
      met.set(unitId(op), { namespace: op.namespace, key: op.key, field: op.field });
  return met;
}

function unitOf([namespace, key, field, kind, state, rev, schemaVersion, bytes, removedMs, updates]: UnitRow) {
  const unit: Unit = { kind, state: stateOf({ state, updates }), rev, schemaVersion, bytes, removedMs };
  return [unitId({ namespace, key, field }), unit] as const;
}

function answerOf([seq, status, code, message, rev]: AnswerRow) {
  const fault = code === null ? undefined : { reason: code, message: message ?? "" };
  return [seq, { seq, status, fault, rev }] as const;
}
