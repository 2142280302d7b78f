/** Activities in Postgres, and what their units hold. Changes are decided under the lock of the user's head row. */
import { inTransaction } from "@continuo/database";
import type { Json, KindName } from "@continuo/merge";
import type { Pool, PoolClient } from "pg";
import { stateOf, textUpdatesOf } from "../entry/unit.store.ts";
import { usageAfter, type Usage } from "../entry/quota.ts";
import type { UnitName } from "../entry/unit.ts";
import type { Activity, ActivityStore, Decision, ReadActivity, Settled, Situation, StandingUnit } from "./activity.ts";
import { closeUnit, type Closing } from "./lease.ts";
import type { ResumeStore } from "./resume.ts";

/** How many a user has at most, over or not; those go first that are published longest ago. */
const MAX_KEPT = 50;

const LOCK_HEAD = `
  INSERT INTO user_state.user_heads AS head (user_id, epoch) VALUES ($1, $2)
  ON CONFLICT (user_id) DO UPDATE SET max_ms = head.max_ms
  RETURNING rev::float8, activity_rev::float8, entries, bytes::float8, usage`;

const COLUMNS = `
  activity.id, activity.device_id, activity.namespace, activity.key, activity.field, activity.kind, activity.title, activity.uris,
  activity.stamp_ms::float8, activity.stamp_counter, activity.at, activity.expires_at, activity.ended_at, activity.rev::float8,
  activity.fence, activity.lease_until, activity.flush_fence, activity.flush_until, activity.flushed_at,
  statement_timestamp() AS now`;

const NEWEST_FENCE = `
  coalesce((
    SELECT max(other.fence) FROM user_state.activities AS other
    WHERE other.user_id = activity.user_id AND other.namespace = activity.namespace
      AND other.key = activity.key AND other.field = activity.field
  ), 0) AS newest_fence`;

const FIND = `SELECT ${COLUMNS} FROM user_state.activities AS activity WHERE user_id = $1 AND id = $2`;

const OF_UNIT = `
  SELECT ${COLUMNS} FROM user_state.activities AS activity
  WHERE user_id = $1 AND namespace = $2 AND key = $3 AND field = $4`;

const UNIT_COLUMNS = `
  entry.kind AS unit_kind, entry.state, entry.rev::float8 AS unit_rev, entry.schema_version, entry.bytes, entry.removed_ms::float8,
  entry.ms::float8, extract(epoch FROM entry.expires_at)::float8 * 1000 AS expires_ms,
  CASE WHEN entry.kind = 'TEXT' THEN ${textUpdatesOf("entry.user_id", "entry")} END AS updates`;

/** What has expired is as good as deleted. */
const STANDS = "(entry.expires_at IS NULL OR entry.expires_at > statement_timestamp())";

/** One row, also where nobody has written the unit. */
const UNIT = `
  SELECT statement_timestamp() AS now, ${UNIT_COLUMNS}
  FROM (VALUES ($1::uuid)) AS asked (user_id)
  LEFT JOIN user_state.state_entries AS entry
    ON entry.user_id = asked.user_id AND entry.namespace = $2 AND entry.key = $3 AND entry.field = $4`;

const OPEN_WITH_UNITS = `
  SELECT ${COLUMNS}, ${NEWEST_FENCE}, ${UNIT_COLUMNS}
  FROM user_state.activities AS activity
  LEFT JOIN user_state.state_entries AS entry
    ON entry.user_id = activity.user_id AND entry.namespace = activity.namespace
      AND entry.key = activity.key AND entry.field = activity.field AND ${STANDS}
  WHERE activity.user_id = $1 AND activity.ended_at IS NULL AND activity.expires_at > statement_timestamp()`;

/** One snapshot: the head is never behind the activities. From the beginning, what is over is not told. */
const CHANGES = `
  SELECT head.activity_rev::float8 AS head, head.activities_erased_rev::float8 AS erased, found.*,
         (SELECT max(rev) FROM user_state.activities WHERE user_id = head.user_id)::float8 AS newest
  FROM user_state.user_heads AS head
  LEFT JOIN LATERAL (
    SELECT ${COLUMNS}, ${NEWEST_FENCE}
    FROM user_state.activities AS activity
    WHERE activity.user_id = head.user_id AND activity.rev > $2
      AND ($2 > 0 OR (activity.ended_at IS NULL AND activity.expires_at > statement_timestamp()))
    ORDER BY activity.rev
    FETCH FIRST $3 ROWS WITH TIES
  ) AS found ON true
  WHERE head.user_id = $1
  ORDER BY found.rev, found.id`;

const STORE = `
  WITH head AS (
    UPDATE user_state.user_heads SET activity_rev = greatest(activity_rev, (
      SELECT max(rev) FROM jsonb_to_recordset($2::jsonb) AS change (rev bigint)
    ))
    WHERE user_id = $1
  )
  INSERT INTO user_state.activities
    (user_id, id, device_id, namespace, key, field, kind, title, uris, stamp_ms, stamp_counter, at, expires_at, ended_at, rev,
     fence, lease_until, flush_fence, flush_until, flushed_at)
  SELECT $1, id, device_id, namespace, key, field, kind, title, uris, stamp_ms, stamp_counter, at, expires_at, ended_at, rev,
         fence, lease_until, flush_fence, flush_until, flushed_at
  FROM jsonb_to_recordset($2::jsonb) AS change
    (id uuid, device_id uuid, namespace text, key text, field text, kind text, title text, uris jsonb, stamp_ms bigint,
     stamp_counter int, at timestamptz, expires_at timestamptz, ended_at timestamptz, rev bigint, fence int,
     lease_until timestamptz, flush_fence int, flush_until timestamptz, flushed_at timestamptz)
  ON CONFLICT (user_id, id) DO UPDATE SET
    kind = excluded.kind, title = excluded.title, uris = excluded.uris, stamp_ms = excluded.stamp_ms,
    stamp_counter = excluded.stamp_counter, at = excluded.at, expires_at = excluded.expires_at, ended_at = excluded.ended_at,
    rev = excluded.rev, fence = excluded.fence, lease_until = excluded.lease_until, flush_fence = excluded.flush_fence,
    flush_until = excluded.flush_until, flushed_at = excluded.flushed_at`;

const FORGET_SURPLUS = `
  DELETE FROM user_state.activities WHERE user_id = $1 AND id IN (
    SELECT id FROM user_state.activities WHERE user_id = $1 ORDER BY expires_at DESC, id OFFSET ${MAX_KEPT}
  )`;

/** A change as any other, so it gets a revision. When a unit expires stays as it was. */
const CLOSE = `
  WITH head AS (
    UPDATE user_state.user_heads SET rev = $5, entries = $12, bytes = $13, usage = $14 WHERE user_id = $1
  )
  INSERT INTO user_state.state_entries
    (user_id, namespace, key, field, rev, kind, state, deleted, ms, schema_version, bytes, removed_ms)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, floor(extract(epoch FROM statement_timestamp()) * 1000)::bigint, $9, $10, $11)
  ON CONFLICT (user_id, namespace, key, field) DO UPDATE SET
    rev = excluded.rev, state = excluded.state, bytes = excluded.bytes, ms = greatest(state_entries.ms, excluded.ms)`;

interface HeadRow {
  readonly rev: number;
  readonly activity_rev: number;
  readonly entries: number;
  readonly bytes: number;
  readonly usage: Usage["namespaces"];
}

interface ActivityRow {
  readonly id: string;
  readonly device_id: string;
  readonly namespace: string;
  readonly key: string;
  readonly field: string;
  readonly kind: string;
  readonly title: string;
  readonly uris: Activity["uris"];
  readonly stamp_ms: number;
  readonly stamp_counter: number;
  readonly at: Date;
  readonly expires_at: Date;
  readonly ended_at: Date | null;
  readonly rev: number;
  readonly fence: number | null;
  readonly lease_until: Date | null;
  readonly flush_fence: number | null;
  readonly flush_until: Date | null;
  readonly flushed_at: Date | null;
  readonly now: Date;
}

interface UnitColumns {
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

type Connection = Pick<PoolClient, "query">;

/** The `activities` of the `user_state` schema, through `pool`. */
export function createActivityStore(pool: Pool): ActivityStore & ResumeStore {
  return {
    async find(userId, id) {
      const { rows } = await pool.query<ActivityRow>({ name: "activity_find", text: FIND, values: [userId, id] });
      return rows[0] && activityOf(rows[0]);
    },

    look: (userId, unit) => situation(pool, userId, unit),

    decide: ({ userId, unit, newEpoch }, decide) =>
      inTransaction(pool, async (connection) => {
        const { rows } = await connection.query<HeadRow>({
          name: "activity_lock_head",
          text: LOCK_HEAD,
          values: [userId, newEpoch],
        });
        const head = rows[0];
        if (head === undefined) throw new Error("an upsert returned no row");
        const met: Situation = { ...(await situation(connection, userId, unit)), rev: head.activity_rev + 1 };
        const decision = decide(met);
        await storeActivities(connection, userId, met, decision);
        const stateRev = await close(connection, userId, { head, unit, met, decision });
        const isNews = decision.activities.some(({ rev }) => rev === met.rev);
        return { result: decision.result, activityRev: isNews ? met.rev : null, stateRev };
      }),

    async changes(userId, since, first) {
      const { rows } = await pool.query<
        { head: number; erased: number; newest: number | null } & (ReadRow | { readonly id: null })
      >({
        name: "activity_changes",
        text: CHANGES,
        values: [userId, since, first],
      });
      const activities = rows.flatMap((row) => (row.id === null ? [] : [readOf(row)]));
      const newest = rows[0]?.newest ?? 0;
      return {
        head: rows[0]?.head ?? 0,
        erased: rows[0]?.erased ?? 0,
        hasMore: newest > (activities.at(-1)?.rev ?? newest),
        activities,
      };
    },

    async read(userId) {
      const { rows } = await pool.query<ReadRow & UnitColumns>({
        name: "activity_resume",
        text: OPEN_WITH_UNITS,
        values: [userId],
      });
      return rows.map((row) => ({ activity: readOf(row), unit: unitOf(row) }));
    },
  };
}

interface ReadRow extends ActivityRow {
  readonly newest_fence: number;
}

async function situation(
  connection: Connection,
  userId: string,
  { namespace, key, field }: UnitName,
): Promise<Omit<Situation, "rev">> {
  const values = [userId, namespace, key, field];
  const { rows } = await connection.query<ActivityRow>({ name: "activity_of_unit", text: OF_UNIT, values });
  const units = await connection.query<UnitColumns & { now: Date }>({ name: "activity_unit", text: UNIT, values });
  const row = units.rows[0];
  if (row === undefined) throw new Error("a row that is always there is not");
  return { now: row.now, activities: rows.map(activityOf), unit: unitOf(row) };
}

async function storeActivities(
  connection: Connection,
  userId: string,
  met: Situation,
  { activities }: Pick<Decision<unknown>, "activities">,
): Promise<void> {
  if (activities.length === 0) return;
  const rows = activities.map(({ deviceId, stamp, expiresAt, endedAt, leaseUntil, flush, ...activity }) => ({
    ...activity,
    device_id: deviceId,
    stamp_ms: stamp.ms,
    stamp_counter: stamp.counter,
    expires_at: expiresAt,
    ended_at: endedAt,
    lease_until: leaseUntil,
    flush_fence: flush?.fence ?? null,
    flush_until: flush?.until ?? null,
    flushed_at: flush?.doneAt ?? null,
  }));
  await connection.query({ name: "activity_store", text: STORE, values: [userId, JSON.stringify(rows)] });
  const isNew = activities.some(({ id }) => met.activities.every((known) => known.id !== id));
  if (isNew) await connection.query({ name: "activity_forget_surplus", text: FORGET_SURPLUS, values: [userId] });
}

/** The revision of the unit once it is closed; null when there was nothing to do. */
async function close(
  connection: Connection,
  userId: string,
  what: { head: HeadRow; unit: Closing; met: Situation; decision: Settled<unknown> },
): Promise<number | null> {
  const { head, unit: name, met, decision } = what;
  if (decision.closeTo === null) return null;
  const rev = head.rev + 1;
  const closed = closeUnit(met.unit, name, { fence: decision.closeTo, rev, now: met.now });
  if (closed === undefined) return null;
  const { entries, bytes, namespaces } = usageAfter(
    { entries: head.entries, bytes: head.bytes, namespaces: head.usage },
    name,
    met.unit,
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

function activityOf(row: ActivityRow): Activity {
  const { id, namespace, key, field, kind, title, uris, at, rev, fence } = row;
  return {
    id,
    deviceId: row.device_id,
    namespace,
    key,
    field,
    kind,
    title,
    uris,
    stamp: { ms: row.stamp_ms, counter: row.stamp_counter },
    at,
    expiresAt: row.expires_at,
    endedAt: row.ended_at,
    rev,
    fence,
    leaseUntil: row.lease_until,
    flush:
      row.flush_fence === null || row.flush_until === null
        ? null
        : { fence: row.flush_fence, until: row.flush_until, doneAt: row.flushed_at },
  };
}

function readOf(row: ReadRow): ReadActivity {
  return { ...activityOf(row), newestFence: row.newest_fence, now: row.now };
}

function unitOf(row: UnitColumns): StandingUnit | undefined {
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
