/** Activities in Postgres, and the state of their units. Changes are decided under the lock of the user's head row. */
import { inTransaction } from "@continuo/database";
import type { Pool } from "pg";
import { lockHead } from "../database/user-head.ts";
import type { UnitName } from "../entry/unit.ts";
import type { Activity, ActivityStore, Decision, ReadActivity, UnitSnapshot } from "./activity.ts";
import {
  closeUnitTo,
  readUnit,
  UNIT_COLUMNS,
  unitOf,
  type Connection,
  type Head,
  type UnitColumns,
} from "./leased-unit.store.ts";
import type { ResumeStore } from "./resume.ts";

/** The maximum number of activities per user, open or ended; the one that expires first goes first. */
const MAX_KEPT = 50;

const LOCK_HEAD = lockHead("rev::float8, activity_rev::float8, entries, bytes::float8, usage");

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

/** An expired unit counts as deleted. */
const STANDS = "(entry.expires_at IS NULL OR entry.expires_at > statement_timestamp())";

const OPEN_WITH_UNITS = `
  SELECT ${COLUMNS}, ${NEWEST_FENCE}, ${UNIT_COLUMNS}
  FROM user_state.activities AS activity
  LEFT JOIN user_state.state_entries AS entry
    ON entry.user_id = activity.user_id AND entry.namespace = activity.namespace
      AND entry.key = activity.key AND entry.field = activity.field AND ${STANDS}
  WHERE activity.user_id = $1 AND activity.ended_at IS NULL AND activity.expires_at > statement_timestamp()`;

/** One snapshot, so the head is never behind the activities. A read from the beginning leaves out what is over. */
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

interface HeadRow extends Head {
  readonly activity_rev: number;
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

/** The `activities` of the `user_state` schema, through `pool`. */
export function createActivityStore(pool: Pool): ActivityStore & ResumeStore {
  return {
    async find(userId, id) {
      const { rows } = await pool.query<ActivityRow>({ name: "activity_find", text: FIND, values: [userId, id] });
      return rows[0] && activityOf(rows[0]);
    },

    look: (userId, unit) => unitSnapshot(pool, userId, unit),

    decide: ({ userId, unit, newEpoch }, decide) =>
      inTransaction(pool, async (connection) => {
        const { rows } = await connection.query<HeadRow>({
          name: "activity_lock_head",
          text: LOCK_HEAD,
          values: [userId, newEpoch],
        });
        const head = rows[0];
        if (head === undefined) throw new Error("an upsert returned no row");
        const met: UnitSnapshot = { ...(await unitSnapshot(connection, userId, unit)), rev: head.activity_rev + 1 };
        const decision = decide(met);
        await storeActivities(connection, userId, met, decision);
        const closing = { head, name: unit, unit: met.unit, fence: decision.closeTo, now: met.now };
        const stateRev = await closeUnitTo(connection, userId, closing);
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

async function unitSnapshot(
  connection: Connection,
  userId: string,
  unit: UnitName,
): Promise<Omit<UnitSnapshot, "rev">> {
  const values = [userId, unit.namespace, unit.key, unit.field];
  const { rows } = await connection.query<ActivityRow>({ name: "activity_of_unit", text: OF_UNIT, values });
  return { activities: rows.map(activityOf), ...(await readUnit(connection, userId, unit)) };
}

async function storeActivities(
  connection: Connection,
  userId: string,
  met: UnitSnapshot,
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
