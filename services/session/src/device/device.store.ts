import { gather } from "@continuo/database";
import type { Pool } from "pg";
import { z } from "zod";
import { isLive, sessionColumns, sessionsByDevice } from "../session/session.store.ts";
import { Device, type DeviceCursor, type DevicePage, type DeviceStore } from "./device.ts";

/** The columns of a device's own row in `table`, except its id and user. */
const ownColumns = (table: string): string => `
  ${table}.name, ${table}.detected_name AS "detectedName", ${table}.platform,
  ${table}.first_seen_at AS "firstSeenAt", ${table}.last_seen_at AS "lastSeenAt", ${table}.rev`;

/**
 * The columns of a Device in `table`. OFFSET 0 forces the index by device; otherwise Postgres may read and hash all
 * live sessions.
 */
const deviceColumns = (table: string, now: string): string => `
  ${table}.id, ${table}.user_id AS "userId", ${ownColumns(table)},
  EXISTS (SELECT FROM session.sessions AS s WHERE s.device_id = ${table}.id AND ${isLive("s", now)} OFFSET 0) AS "isSignedIn"`;

const BY_IDS = `
SELECT ${deviceColumns("d", "$2::timestamptz")} FROM session.devices AS d WHERE d.id = ANY ($1::uuid[])`;

/**
 * One row per live session, and one for a device that has none. $1 users, $2 nows, $3 current devices, $4 limits, $5
 * and $6 last use and id to start after, or null to start at the first. OFFSET 0: as above.
 */
const PAGES = `
SELECT page.place, all_of_them.count AS "totalCount", s.*, found.*, s.id IS NOT NULL AS "isSignedIn"
  FROM unnest($1::uuid[], $2::timestamptz[], $3::uuid[], $4::int[], $5::timestamptz[], $6::uuid[]) WITH ORDINALITY
       AS page (user_id, now, current_id, most, seen_at, id, place)
 CROSS JOIN LATERAL (SELECT count(*) FROM session.devices AS d WHERE d.user_id = page.user_id) AS all_of_them
  LEFT JOIN LATERAL (
    SELECT d.id AS "deviceId", d.user_id AS "userId", ${ownColumns("d")}
      FROM session.devices AS d
     WHERE d.user_id = page.user_id
       AND (page.seen_at IS NULL OR (d.id <> page.current_id AND (d.last_seen_at, d.id) < (page.seen_at, page.id)))
     ORDER BY d.id = page.current_id DESC, d.last_seen_at DESC, d.id DESC
     LIMIT page.most) AS found ON true
  LEFT JOIN LATERAL (
    SELECT ${sessionColumns("s")} FROM session.sessions AS s
     WHERE s.device_id = found."deviceId" AND ${isLive("s", "page.now")} OFFSET 0) AS s ON true
 ORDER BY page.place, found."deviceId" = page.current_id DESC, found."lastSeenAt" DESC, found."deviceId" DESC`;

/** $1 user, $2 now, $3 since, $4 limit. One snapshot, so the head is never behind the devices. */
const CHANGES = `
SELECT h.device_rev AS head, found.*,
       (SELECT max(d.rev) FROM session.devices AS d WHERE d.user_id = h.user_id) AS newest
  FROM session.user_heads AS h
  LEFT JOIN LATERAL (
    SELECT ${deviceColumns("d", "$2::timestamptz")}
      FROM session.devices AS d
     WHERE d.user_id = h.user_id AND d.rev > $3::bigint
     ORDER BY d.rev
     FETCH FIRST $4 ROWS WITH TIES) AS found ON true
 WHERE h.user_id = $1
 ORDER BY found.rev, found.id`;

/** $1 user, $2 device, $3 name, $4 now, $5 the acting session. */
const RENAME = `
WITH head AS (
    UPDATE session.user_heads AS h SET device_rev = h.device_rev + 1
     WHERE h.user_id = $1
       AND EXISTS (SELECT FROM session.devices AS d WHERE d.id = $2 AND d.user_id = $1)
    RETURNING h.user_id, h.device_rev),
  renamed AS (
    UPDATE session.devices AS d SET name = $3, rev = head.device_rev
      FROM head
     WHERE d.id = $2 AND d.user_id = head.user_id
    RETURNING ${deviceColumns("d", "$4::timestamptz")}),
  audited AS (
    INSERT INTO session.auth_events (user_id, at, type, session_id, device_id, actor_id, detail)
    SELECT "userId", $4, 'DEVICE_RENAMED', $5, id, "userId", jsonb_build_object('name', name) FROM renamed)
SELECT * FROM renamed`;

/** The place right after the current device: sorts before every other device's last use and id. */
const FIRST_OF_OTHERS = { seenAt: "infinity", id: "ffffffff-ffff-ffff-ffff-ffffffffffff" };

interface AskedPage {
  readonly userId: string;
  readonly currentId: string;
  readonly range: { readonly first: number; readonly after: DeviceCursor | null };
  readonly now: Date;
}

const Total = z.object({ totalCount: z.coerce.number() });
const Log = z.object({ head: z.coerce.number(), newest: z.coerce.number() });
const hasId = (row: Record<string, unknown>): boolean => row["id"] !== null;
const hasDevice = (row: Record<string, unknown>): boolean => row["deviceId"] !== null;

/** Devices in Postgres. Concurrent page reads share one query. */
export function createDeviceStore(pool: Pool): DeviceStore {
  async function rowsOf(name: string, text: string, values: unknown[]): Promise<Record<string, unknown>[]> {
    return (await pool.query<Record<string, unknown>>({ name, text, values })).rows;
  }

  const page = gather(async (asked: readonly AskedPage[]): Promise<DevicePage[]> => {
    const starts = asked.map(({ range: { after } }) =>
      after === null
        ? { seenAt: null, id: null }
        : after === "CURRENT"
          ? FIRST_OF_OTHERS
          : { seenAt: after.lastSeenAt, id: after.id },
    );
    const rows = await rowsOf("device-pages", PAGES, [
      asked.map(({ userId }) => userId),
      asked.map(({ now }) => now),
      asked.map(({ currentId }) => currentId),
      asked.map(({ range }) => range.first + 1),
      starts.map(({ seenAt }) => seenAt),
      starts.map(({ id }) => id),
    ]);
    const pages = Map.groupBy(rows, ({ place }) => Number(place));
    return asked.map(({ range: { first } }, index) => {
      const ofPage = pages.get(index + 1) ?? [];
      const sessions = sessionsByDevice(ofPage.filter(hasId));
      const devices = [...Map.groupBy(ofPage.filter(hasDevice), ({ deviceId }) => deviceId)].map(([id, [row]]) => ({
        ...Device.parse({ ...row, id }),
        liveSessions: sessions(String(id)),
      }));
      return {
        totalCount: Total.parse(ofPage[0]).totalCount,
        hasNextPage: devices.length > first,
        devices: devices.slice(0, first),
      };
    });
  });

  return {
    async byIds(ids, now) {
      const rows = await rowsOf("devices-by-ids", BY_IDS, [ids, now]);
      const found = new Map(rows.map((row) => Device.parse(row)).map((device) => [device.id, device]));
      return ids.map((id) => found.get(id));
    },

    page: (userId, currentId, range, now) => page({ userId, currentId, range, now }),

    async changes(userId, since, first, now) {
      const rows = await rowsOf("device-changes", CHANGES, [userId, now, since, first]);
      const { head, newest } = rows[0] ? Log.parse(rows[0]) : { head: 0, newest: 0 };
      const devices = rows.filter(hasId).map((row) => Device.parse(row));
      return { head, hasMore: newest > (devices.at(-1)?.rev ?? newest), devices };
    },

    async rename(session, deviceId, name, now) {
      const rows = await rowsOf("rename-device", RENAME, [session.userId, deviceId, name, now, session.id]);
      return rows[0] && Device.parse(rows[0]);
    },
  };
}
