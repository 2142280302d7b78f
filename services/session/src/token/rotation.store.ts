import { Posture } from "@continuo/access";
import { gather } from "@continuo/database";
import type { Pool } from "pg";
import { z } from "zod";
import { Session } from "../session/session.ts";
import { isConfidentialSql } from "../application/application.store.ts";
import { isLive, sessionColumns } from "../session/session.store.ts";
import { DeviceBinding } from "../policy/policy.ts";
import { acrSufficesSql } from "../policy/policy.store.ts";
import type { RefreshTokenParts } from "./refresh-token.ts";
import { CONCURRENT_MS, mayUseAnyKey, type RotationStore } from "./rotation.ts";

/** A row of AUTHORIZATION_COLUMNS. */
export const AuthorizationRow = Session.extend({
  grantId: z.uuid(),
  generation: z.number().int(),
  keyId: z.number().int(),
  salt: z.instanceof(Buffer),
  accessTokenSeconds: z.number().int(),
  posture: Posture,
  stepUpSeconds: z.number().int(),
  jkt: z.string().nullable(),
  epoch: z.number().int(),
}).transform(
  ({ grantId, generation, keyId, salt, accessTokenSeconds, posture, stepUpSeconds, jkt, epoch, ...session }) => ({
    session,
    grantId,
    generation,
    keyId,
    salt,
    accessTokenSeconds,
    posture,
    stepUpSeconds,
    jkt,
    epoch,
  }),
);

const RotationRow = z.object({
  isActive: z.boolean(),
  confirmedGeneration: z.number().int(),
  hasJustRotated: z.boolean(),
  requiredAcr: z.string().nullable(),
  isConfidential: z.boolean(),
  deviceBinding: DeviceBinding,
});

/** Columns of `g`, `s`, `p` and `u`, joined by AUTHORIZATION_JOINS. */
export const AUTHORIZATION_COLUMNS = `
  g.id AS "grantId", g.generation, g.key_id AS "keyId", g.salt, g.jkt,
  p.access_token_seconds AS "accessTokenSeconds", p.posture,
  p.step_up_seconds AS "stepUpSeconds", u.epoch, ${sessionColumns("s")}`;

export const AUTHORIZATION_JOINS = `
  s.id = g.session_id AND p.application_id = s.application_id AND p.version = s.policy_version
  AND u.user_id = s.user_id`;

/**
 * $1 now; then one row per refresh: $2 grant ids, $3 presented generations, $4 presented salts, $5 proven keys, $6
 * master key ids, $7 applications, null for one that has not authenticated, $8 whether any key suffices. $9 rotation
 * time, null for now. Grants are locked by id, as everywhere. After waiting for a lock Postgres checks only `g` again,
 * not `s`, so ending a session must also update its grants. Of two refreshes with one token, one finds a row.
 */
const ADVANCE = `
WITH presented AS MATERIALIZED (
    SELECT * FROM unnest($2::uuid[], $3::int[], $4::bytea[], $5::text[], $6::int[], $7::text[], $8::boolean[])
        WITH ORDINALITY AS presented (grant_id, generation, salt, jkt, key_id, application_id, any_key, place)),
  locked AS MATERIALIZED (
    SELECT g.id, presented.place
      FROM presented JOIN session.grants AS g ON g.id = presented.grant_id
     WHERE g.generation = presented.generation AND g.salt = presented.salt AND g.state = 'ACTIVE'
       AND (g.jkt IS NULL OR g.jkt = presented.jkt OR presented.any_key)
     ORDER BY g.id FOR UPDATE OF g)
UPDATE session.grants AS g
   SET generation = g.generation + 1, confirmed_generation = g.generation, rotated_at = coalesce($9::timestamptz, clock_timestamp()), key_id = presented.key_id,
       jkt = CASE WHEN g.jkt IS NOT NULL THEN presented.jkt END
  FROM locked JOIN presented USING (place), session.sessions AS s, session.policies AS p, session.user_heads AS u
 WHERE g.id = locked.id
   AND CASE WHEN presented.application_id IS NULL THEN NOT ${isConfidentialSql("s.application_id")}
            ELSE s.application_id = presented.application_id END
   AND ${AUTHORIZATION_JOINS}
   AND ${isLive("s", "$1::timestamptz")}
   AND ${acrSufficesSql("s.acr", "p.required_acr")}
   AND (p.device_binding = 'NONE' OR g.jkt IS NOT NULL)
RETURNING presented.place, ${AUTHORIZATION_COLUMNS}`;

/** $1 grant ids, $2 presented salts, $3 the current time, null for the database's. */
const READ = `
  SELECT presented.place, g.state = 'ACTIVE' AS "isActive", g.confirmed_generation AS "confirmedGeneration",
         coalesce($3::timestamptz, clock_timestamp()) - g.rotated_at <= interval '${CONCURRENT_MS} milliseconds' AS "hasJustRotated",
         p.required_acr AS "requiredAcr", p.device_binding AS "deviceBinding",
         ${isConfidentialSql("s.application_id")} AS "isConfidential",
         ${AUTHORIZATION_COLUMNS}
    FROM unnest($1::uuid[], $2::bytea[]) WITH ORDINALITY AS presented (grant_id, salt, place)
    JOIN session.grants AS g ON g.id = presented.grant_id AND g.salt = presented.salt,
         session.sessions AS s, session.policies AS p, session.user_heads AS u
   WHERE ${AUTHORIZATION_JOINS}`;

/** $1 grant ids. */
const SESSIONS_OF = `
  SELECT g.id AS "grantId", g.state = 'ACTIVE' AS "isActive", ${sessionColumns("s")}
    FROM session.grants AS g JOIN session.sessions AS s ON s.id = g.session_id
   WHERE g.id = ANY ($1::uuid[])`;

const SessionOfRow = Session.extend({ grantId: z.uuid(), isActive: z.boolean() }).transform(
  ({ grantId, isActive, ...session }) => ({ grantId, isActive, session }),
);

/** $1 user, $2 now, $3 session, $4 device, $5 presented generation, $6 known generation. */
const NOTE_AHEAD = `
  INSERT INTO session.auth_events (user_id, at, type, session_id, device_id, detail)
  SELECT $1::uuid, $2::timestamptz, 'GRANT_AHEAD', $3::uuid, $4::uuid,
         jsonb_build_object('presented', $5::int, 'current', $6::int)
   WHERE NOT EXISTS (SELECT FROM session.auth_events AS e
                      WHERE e.user_id = $1 AND e.session_id = $3 AND e.type = 'GRANT_AHEAD')`;

interface Refresh {
  readonly presented: RefreshTokenParts;
  readonly by: Parameters<RotationStore["advance"]>[1];
  readonly now: Date;
}

/**
 * Grants in Postgres. Concurrent refreshes share a statement and a commit. Rotations are dated by Postgres's clock, as
 * one process writes the time and another compares it; tests pass `clock`.
 */
export function createRotationStore(pool: Pool, clock?: () => Date): RotationStore {
  const advance = gather(
    async (refreshes: readonly Refresh[]) => {
      const { rows } = await pool.query<Record<string, unknown>>({
        name: "advance-grants",
        text: ADVANCE,
        values: [
          new Date(Math.max(...refreshes.map(({ now }) => now.getTime()))),
          refreshes.map(({ presented }) => presented.grantId),
          refreshes.map(({ presented }) => presented.generation),
          refreshes.map(({ presented }) => presented.salt),
          refreshes.map(({ by }) => by.jkt),
          refreshes.map(({ by }) => by.keyId),
          refreshes.map(({ by }) => by.client?.id ?? null),
          refreshes.map(({ by }) => mayUseAnyKey(by)),
          clock?.() ?? null,
        ],
      });
      return placed(refreshes.length, rows, (row) => AuthorizationRow.parse(row));
    },
    { inHalves: true },
  );
  const read = gather(async (presented: readonly RefreshTokenParts[]) => {
    const { rows } = await pool.query<Record<string, unknown>>({
      name: "read-grants",
      text: READ,
      values: [presented.map(({ grantId }) => grantId), presented.map(({ salt }) => salt), clock?.() ?? null],
    });
    return placed(presented.length, rows, (row) => ({ ...AuthorizationRow.parse(row), ...RotationRow.parse(row) }));
  });
  const sessionOf = gather(async (grantIds: readonly string[]) => {
    const { rows } = await pool.query<Record<string, unknown>>({
      name: "sessions-of-grants",
      text: SESSIONS_OF,
      values: [[...new Set(grantIds)]],
    });
    const found = new Map(rows.map((row) => SessionOfRow.parse(row)).map((each) => [each.grantId, each]));
    return grantIds.map((id) => found.get(id));
  });

  return {
    advance: (presented, by, now) => advance({ presented, by, now }),

    async noteAhead({ session, generation }, presented, now) {
      await pool.query({
        name: "note-grant-ahead",
        text: NOTE_AHEAD,
        values: [session.userId, now, session.id, session.deviceId, presented, generation],
      });
    },

    read,
    sessionOf,
  };
}

/** Parses `rows` into the order of their 1-based `place`; undefined where there is none. */
function placed<Row>(
  count: number,
  rows: readonly Record<string, unknown>[],
  parse: (row: unknown) => Row,
): (Row | undefined)[] {
  const found = new Map(rows.map((row) => [Number(row["place"]), row]));
  return Array.from({ length: count }, (_, index) => {
    const row = found.get(index + 1);
    return row && parse(row);
  });
}
