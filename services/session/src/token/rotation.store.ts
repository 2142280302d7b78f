import { Posture } from "@continuo/access";
import type { Pool } from "pg";
import { z } from "zod";
import { Session } from "../session/session.ts";
import { isLive, sessionColumns } from "../session/session.store.ts";
import { acrSufficesSql } from "../policy/policy.store.ts";
import type { RotationStore } from "./rotation.ts";

const AuthorizationRow = Session.extend({
  grantId: z.uuid(),
  generation: z.number().int(),
  keyId: z.number().int(),
  salt: z.instanceof(Buffer),
  accessTokenSeconds: z.number().int(),
  posture: Posture,
  jkt: z.string().nullable(),
  epoch: z.number().int(),
}).transform(({ grantId, generation, keyId, salt, accessTokenSeconds, posture, jkt, epoch, ...session }) => ({
  session,
  grantId,
  generation,
  keyId,
  salt,
  accessTokenSeconds,
  posture,
  jkt,
  epoch,
}));

const RotationRow = z.object({
  isActive: z.boolean(),
  confirmedGeneration: z.number().int(),
  rotatedAt: z.date(),
  requiredAcr: z.string().nullable(),
});

const AUTHORIZATION_COLUMNS = `
  g.id AS "grantId", g.generation, g.key_id AS "keyId", g.salt, g.jkt,
  p.access_token_seconds AS "accessTokenSeconds", p.posture, u.epoch, ${sessionColumns("s")}`;

const AUTHORIZATION_JOINS = `
  s.id = g.session_id AND p.application_id = s.application_id AND p.version = s.policy_version
  AND u.user_id = s.user_id`;

/**
 * $1 grant id, $2 generation presented, $3 salt presented, $4 now, $5 key proven, $6 master key id, $7 application that asks.
 * A caller that waited for the row lock has only `g` checked again, not `s`: so whoever ends a session ends its grants.
 */
const ADVANCE = `
  UPDATE session.grants AS g
     SET generation = g.generation + 1, confirmed_generation = g.generation, rotated_at = $4, key_id = $6
    FROM session.sessions AS s, session.policies AS p, session.user_heads AS u
   WHERE g.id = $1 AND g.generation = $2 AND g.salt = $3 AND g.state = 'ACTIVE'
     AND (g.jkt IS NULL OR g.jkt = $5)
     AND ($7::text IS NULL OR s.application_id = $7)
     AND ${AUTHORIZATION_JOINS}
     AND ${isLive("s", "$4::timestamptz")}
     AND ${acrSufficesSql("s.acr", "p.required_acr")}
  RETURNING ${AUTHORIZATION_COLUMNS}`;

/** $1 grant id, $2 salt presented. */
const READ = `
  SELECT g.state = 'ACTIVE' AS "isActive", g.confirmed_generation AS "confirmedGeneration", g.rotated_at AS "rotatedAt",
         p.required_acr AS "requiredAcr", ${AUTHORIZATION_COLUMNS}
    FROM session.grants AS g, session.sessions AS s, session.policies AS p, session.user_heads AS u
   WHERE g.id = $1 AND g.salt = $2 AND ${AUTHORIZATION_JOINS}`;

/** $1 user, $2 now, $3 session, $4 device, $5 generation presented, $6 generation known. */
const NOTE_AHEAD = `
  INSERT INTO session.auth_events (user_id, at, type, session_id, device_id, detail)
  SELECT $1::uuid, $2::timestamptz, 'GRANT_AHEAD', $3::uuid, $4::uuid,
         jsonb_build_object('presented', $5::int, 'current', $6::int)
   WHERE NOT EXISTS (SELECT FROM session.auth_events AS e
                      WHERE e.user_id = $1 AND e.session_id = $3 AND e.type = 'GRANT_AHEAD')`;

/** Grants in Postgres. */
export function createRotationStore(pool: Pool): RotationStore {
  return {
    async advance({ grantId, generation, salt }, { jkt, applicationId, keyId }, now) {
      const { rows } = await pool.query<Record<string, unknown>>({
        name: "advance-grant",
        text: ADVANCE,
        values: [grantId, generation, salt, now, jkt, keyId, applicationId],
      });
      return rows[0] && AuthorizationRow.parse(rows[0]);
    },

    async noteAhead({ session, generation }, presented, now) {
      await pool.query({
        name: "note-grant-ahead",
        text: NOTE_AHEAD,
        values: [session.userId, now, session.id, session.deviceId, presented, generation],
      });
    },

    async read({ grantId, salt }) {
      const { rows } = await pool.query<Record<string, unknown>>({
        name: "read-grant",
        text: READ,
        values: [grantId, salt],
      });
      return rows[0] && { ...AuthorizationRow.parse(rows[0]), ...RotationRow.parse(rows[0]) };
    },
  };
}
