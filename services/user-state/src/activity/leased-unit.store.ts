/** The unit of an activity in Postgres: reading it, and closing it to previous lease holders. */
import type { Json, KindName } from "@continuo/merge";
import type { PoolClient } from "pg";
import { usageAfter, type Usage } from "../entry/quota.ts";
import { stateOf, textUpdatesOf } from "../entry/unit.store.ts";
import type { UnitName } from "../entry/unit.ts";
import type { StandingUnit } from "./activity.ts";
import { closeUnit, type Closing } from "./lease.ts";

export type Connection = Pick<PoolClient, "query">;

/** The unit's columns, from `state_entries AS entry`. */
export const UNIT_COLUMNS = `
  entry.kind AS unit_kind, entry.state, entry.rev::float8 AS unit_rev, entry.schema_version, entry.bytes, entry.removed_ms::float8,
  entry.ms::float8, extract(epoch FROM entry.expires_at)::float8 * 1000 AS expires_ms,
  CASE WHEN entry.kind = 'TEXT' THEN ${textUpdatesOf("entry.user_id", "entry")} END AS updates`;

/** Always returns one row, even when the unit was never written. */
const UNIT = `
  SELECT statement_timestamp() AS now, ${UNIT_COLUMNS}
  FROM (VALUES ($1::uuid)) AS asked (user_id)
  LEFT JOIN user_state.state_entries AS entry
    ON entry.user_id = asked.user_id AND entry.namespace = $2 AND entry.key = $3 AND entry.field = $4`;

/** A change like any other, so it gets a revision. It does not move the unit's expiry. */
const CLOSE = `
  WITH head AS (
    UPDATE user_state.user_heads SET rev = $5, entries = $12, bytes = $13, usage = $14 WHERE user_id = $1
  )
  INSERT INTO user_state.state_entries
    (user_id, namespace, key, field, rev, kind, state, deleted, ms, schema_version, bytes, removed_ms)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, floor(extract(epoch FROM statement_timestamp()) * 1000)::bigint, $9, $10, $11)
  ON CONFLICT (user_id, namespace, key, field) DO UPDATE SET
    rev = excluded.rev, state = excluded.state, bytes = excluded.bytes, ms = greatest(state_entries.ms, excluded.ms)`;

/** The head row of a user, locked. */
export interface Head {
  readonly rev: number;
  readonly entries: number;
  readonly bytes: number;
  readonly usage: Usage["namespaces"];
}

/** A row of UNIT_COLUMNS; its columns are null when there is no unit. */
export interface UnitColumns {
  readonly unit_kind: KindName | null;
  readonly state: Json;
  readonly unit_rev: number;
  readonly schema_version: number;
  readonly bytes: number;
  readonly removed_ms: number | null;
  readonly ms: number;
  readonly expires_ms: number | null;
  readonly updates: readonly string[] | null;
}

/** The current unit; undefined when it was never written. `now` is Postgres's clock. */
export async function readUnit(
  connection: Connection,
  userId: string,
  { namespace, key, field }: UnitName,
): Promise<{ readonly now: Date; readonly unit: StandingUnit | undefined }> {
  const { rows } = await connection.query<UnitColumns & { now: Date }>({
    name: "activity_unit",
    text: UNIT,
    values: [userId, namespace, key, field],
  });
  const [row] = rows;
  if (row === undefined) throw new Error("a row that is always there is not");
  return { now: row.now, unit: unitOf(row) };
}

/**
 * Closes a unit to all fences before `fence`, if given. Returns the new revision; null when there was nothing to do.
 */
export async function closeUnitTo(
  connection: Connection,
  userId: string,
  what: { head: Head; name: Closing; unit: StandingUnit | undefined; fence: number | null; now: Date },
): Promise<number | null> {
  const { head, name, unit, fence, now } = what;
  if (fence === null) return null;
  const rev = head.rev + 1;
  const closed = closeUnit(unit, name, { fence, rev, now });
  if (closed === undefined) return null;
  const { entries, bytes, namespaces } = usageAfter(
    { entries: head.entries, bytes: head.bytes, namespaces: head.usage },
    name,
    unit,
    closed,
  );
  const { namespace, key, field } = name;
  const { kind, state, deleted, schemaVersion, removedMs } = closed;
  await connection.query({
    name: "activity_close",
    text: CLOSE,
    values: [
      userId,
      namespace,
      key,
      field,
      rev,
      kind,
      JSON.stringify(state),
      deleted,
      schemaVersion,
      closed.bytes,
      removedMs,
      entries,
      bytes,
      JSON.stringify(namespaces),
    ],
  });
  return rev;
}

/** A unit from its row. */
export function unitOf(row: UnitColumns): StandingUnit | undefined {
  const { unit_kind: kind, unit_rev: rev, schema_version, bytes, removed_ms, ms, expires_ms } = row;
  if (kind === null) return undefined;
  return {
    kind,
    state: stateOf(row),
    rev,
    schemaVersion: schema_version,
    bytes,
    removedMs: removed_ms,
    ms,
    expiresAt: expires_ms,
  };
}
