import type { Pool } from "pg";
import { changeUser, seenHead, type UserChangeRow } from "../database/user-change.ts";
import { firstAuthorization } from "../token/access-token.ts";
import { endSessions, LOGGED } from "../revocation/end-sessions.store.ts";
import { Logged } from "../revocation/revocation.ts";
import type { StartCommand, StartOutcome, StartSessionStore } from "./start-session.ts";
import { Session } from "./session.ts";
import { isLive, sessionColumns } from "./session.store.ts";

/**
 * $1 user, $2 now, $3 jti, $4 its expiry, $5 application, $6 policy version, $7 max sessions, $8 evict?, $9 evictions at most,
 * $10 device id given, $11 new device id, $12 detected name, $13 platform,
 * $14 session id, $15 origin, $16 acr, $17 amr, $18 auth time, $19 idle seconds, $20 idle and $21 absolute deadline,
 * $22 grant id, $23 key id, $24 salt, $25 thumbprint of the device's key, $26 parent session,
 * $27 address prefix, $28 country, $29 epoch of the sign-in.
 *
 * The device is the user's one with this key; failing that the given one, if it is the user's and has no key; else a
 * new one.
 * A session on the same device in the same application is replaced first and does not count towards the limit.
 */
const START = `
WITH ${seenHead("$1")},
  -- Each by an index of its own: an OR would look through all devices of the user.
  known AS MATERIALIZED (
    SELECT d.id, d.jkt FROM session.devices AS d WHERE d.user_id = $1::uuid AND d.jkt = $25::text
     UNION ALL
    SELECT d.id, d.jkt FROM session.devices AS d WHERE d.id = $10::uuid AND d.user_id = $1::uuid AND d.jkt IS NULL
     ORDER BY jkt NULLS LAST LIMIT 1),
  -- By the user alone: an index by application too would be taken for the better one, and is all of the application.
  theirs AS MATERIALIZED (
    SELECT s.* FROM session.sessions AS s WHERE s.user_id = $1::uuid AND ${isLive("s", "$2::timestamptz")}),
  live AS MATERIALIZED (
    SELECT s.id, s.user_id, coalesce(s.device_id = (SELECT id FROM known), false) AS replaced,
           row_number() OVER (
             PARTITION BY coalesce(s.device_id = (SELECT id FROM known), false)
             ORDER BY s.started_at DESC, s.id DESC) AS place
      FROM theirs AS s WHERE s.application_id = $5),
  parent AS MATERIALIZED (SELECT s.id, s.absolute_deadline FROM theirs AS s WHERE s.id = $26::uuid),
  verdict AS MATERIALIZED (
    SELECT CASE
             WHEN EXISTS (SELECT FROM session.redeemed_grants AS r WHERE r.jti = $3::uuid) THEN 'GRANT_USED'
             WHEN (SELECT sign_in_epoch FROM seen) > $29::int THEN 'GRANT_VOID'
             WHEN $26::uuid IS NOT NULL AND NOT EXISTS (SELECT FROM parent) THEN 'PARENT_ENDED'
             WHEN NOT $8::boolean AND (SELECT count(*) FROM live WHERE NOT replaced) >= $7::int
               THEN 'SESSION_LIMIT_REACHED'
             ELSE 'STARTED' END AS kind),
  head AS (
    INSERT INTO session.user_heads AS h (user_id, device_rev)
    SELECT $1::uuid, 1 FROM verdict WHERE kind = 'STARTED'
        ON CONFLICT (user_id) DO UPDATE SET device_rev = h.device_rev + 1
     WHERE h.device_rev = (SELECT device_rev FROM seen)
    RETURNING h.user_id, h.device_rev, h.epoch),
  redeemed AS (
    INSERT INTO session.redeemed_grants (jti, expires_at) SELECT $3::uuid, $4::timestamptz FROM head),
  device AS (
    INSERT INTO session.devices AS d
           (id, user_id, jkt, detected_name, platform, first_seen_at, last_seen_at, rev)
    SELECT coalesce((SELECT id FROM known), $11::uuid),
           head.user_id, $25, $12, $13, $2::timestamptz, $2::timestamptz, head.device_rev
      FROM head
        ON CONFLICT (id) DO UPDATE
       SET jkt = coalesce(d.jkt, EXCLUDED.jkt), detected_name = EXCLUDED.detected_name, platform = EXCLUDED.platform,
           last_seen_at = greatest(d.last_seen_at, EXCLUDED.last_seen_at), rev = EXCLUDED.rev
     WHERE d.user_id = EXCLUDED.user_id
    RETURNING d.id),
  started AS (
    INSERT INTO session.sessions AS s
           (id, user_id, device_id, application_id, origin, acr, amr, auth_time, policy_version, idle_seconds,
            started_at, idle_deadline, absolute_deadline, last_active_at, parent_id, ip_prefix, country,
            sign_in_epoch)
    SELECT $14::uuid, $1::uuid, device.id, $5, $15, $16, $17::text[], $18::timestamptz, $6::int, $19::int,
           $2::timestamptz, $20::timestamptz,
           least($21::timestamptz, (SELECT absolute_deadline FROM parent)), $2::timestamptz, $26::uuid, $27, $28,
           $29::int
      FROM device
    RETURNING ${sessionColumns("s")}),
  "authorization" AS (
    INSERT INTO session.grants (id, session_id, key_id, salt, rotated_at, jkt)
    SELECT $22::uuid, started.id, $23::smallint, $24::bytea, $2::timestamptz, $25::text FROM started),
  audited AS (
    INSERT INTO session.auth_events (user_id, at, type, session_id, device_id, actor_id, detail)
    SELECT started."userId", $2::timestamptz, event.type, started.id, started."deviceId", started."userId", event.detail
      FROM started
     CROSS JOIN LATERAL (VALUES
       (1, 'DEVICE_KEY_BOUND', jsonb_build_object('jkt', $25::text)),
       (2, 'SESSION_STARTED', jsonb_build_object('applicationId', $5::text, 'origin', $15::text, 'acr', $16::text,
                                                 'amr', $17::text[]))) AS event (place, type, detail)
     WHERE event.place = 2 OR ($25::text IS NOT NULL AND (SELECT jkt FROM known) IS NULL)
     ORDER BY event.place),
  target AS (
    SELECT leaving.id, leaving.user_id, 'SESSION' AS kind, leaving.id::text AS key, leaving.reason
      FROM (SELECT live.id, live.user_id, 'REPLACED' AS reason, NULL AS place FROM live WHERE live.replaced
             UNION ALL
            SELECT live.id, live.user_id, 'EVICTED', live.place FROM live
             WHERE NOT live.replaced AND live.place >= $7::int) AS leaving
     ORDER BY leaving.place DESC NULLS FIRST LIMIT $9::int),
  ${endSessions({
    state: "REVOKED",
    now: "$2",
    actor: "$1",
    condition: "true",
    exceptDevice: "SELECT device.id FROM device",
  })}
SELECT verdict.kind, verdict.kind = 'STARTED' AND head.user_id IS NULL AS moved,
       head.device_rev AS "deviceRev", head.epoch, ${LOGGED} AS evicted, started.*
  FROM verdict LEFT JOIN head ON true LEFT JOIN started ON true`;

interface StartRow extends UserChangeRow {
  readonly kind: StartOutcome["kind"];
  readonly deviceRev: string;
  readonly epoch: number;
  readonly evicted: unknown;
}

const Evicted = Logged.nullable();

/** Starts sessions in Postgres. */
export function createStartSessionStore(pool: Pool): StartSessionStore {
  return {
    async start(command) {
      const row = await changeUser<StartRow>(pool, command.userId, {
        name: "start-session",
        text: START,
        values: valuesOf(command),
      });
      if (row.kind !== "STARTED") return { kind: row.kind };
      return {
        kind: "STARTED",
        deviceRev: Number(row.deviceRev),
        evicted: Evicted.parse(row.evicted),
        authorization: firstAuthorization(Session.parse(row), command, { policy: command.policy, epoch: row.epoch }),
      };
    },
  };
}

function valuesOf(command: StartCommand): unknown[] {
  const { policy, device } = command;
  return [
    command.userId,
    command.now,
    command.jti,
    command.jtiExpiresAt,
    policy.applicationId,
    policy.version,
    policy.maxSessions,
    policy.atLimit === "EVICT_OLDEST",
    command.evictions,
    device.id ?? null,
    command.newDeviceId,
    device.name,
    device.platform,
    command.sessionId,
    command.origin,
    command.acr,
    command.amr,
    command.authTime,
    policy.idleSeconds,
    command.idleDeadline,
    command.absoluteDeadline,
    command.grantId,
    command.keyId,
    command.salt,
    command.jkt,
    command.parentId,
    command.place.ipPrefix,
    command.place.country,
    command.signInEpoch,
  ];
}
