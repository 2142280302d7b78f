import type { Pool } from "pg";
import { z } from "zod";
import { changeUser, seenHead, type UserChangeRow } from "../database/user-change.ts";
import { endSessions } from "../revocation/end-sessions.store.ts";
import type { StartCommand, StartOutcome, StartSessionStore } from "./start-session.ts";
import { Session } from "./session.ts";
import { isLive, sessionColumns } from "./session.store.ts";

/**
 * $1 user, $2 now, $3 jti, $4 its expiry, $5 application, $6 policy version, $7 max sessions, $8 evict?, $9 outbox ids,
 * $10 device id given, $11 new device id, $12 detected name, $13 platform,
 * $14 session id, $15 origin, $16 acr, $17 amr, $18 auth time, $19 idle seconds, $20 idle and $21 absolute deadline,
 * $22 grant id, $23 key id, $24 salt.
 */
const START = `
WITH ${seenHead("$1")},
  live AS MATERIALIZED (
    SELECT s.id, s.user_id, row_number() OVER (ORDER BY s.started_at DESC, s.id DESC) AS place
      FROM session.sessions AS s
     WHERE s.user_id = $1::uuid AND s.application_id = $5 AND ${isLive("s", "$2::timestamptz")}),
  verdict AS MATERIALIZED (
    SELECT CASE
             WHEN EXISTS (SELECT FROM session.redeemed_grants AS r WHERE r.jti = $3::uuid) THEN 'GRANT_USED'
             WHEN NOT $8::boolean AND (SELECT count(*) FROM live) >= $7::int THEN 'SESSION_LIMIT_REACHED'
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
           (id, user_id, detected_name, platform, first_seen_at, last_seen_at, rev)
    SELECT coalesce((SELECT own.id FROM session.devices AS own WHERE own.id = $10::uuid AND own.user_id = $1::uuid), $11::uuid),
           head.user_id, $12, $13, $2::timestamptz, $2::timestamptz, head.device_rev
      FROM head
        ON CONFLICT (id) DO UPDATE
       SET detected_name = EXCLUDED.detected_name, platform = EXCLUDED.platform,
           last_seen_at = greatest(d.last_seen_at, EXCLUDED.last_seen_at), revoked_at = NULL, rev = EXCLUDED.rev
     WHERE d.user_id = EXCLUDED.user_id
    RETURNING d.id),
  started AS (
    INSERT INTO session.sessions AS s
           (id, user_id, device_id, application_id, origin, acr, amr, auth_time, policy_version, idle_seconds,
            started_at, idle_deadline, absolute_deadline, last_active_at)
    SELECT $14::uuid, $1::uuid, device.id, $5, $15, $16, $17::text[], $18::timestamptz, $6::int, $19::int,
           $2::timestamptz, $20::timestamptz, $21::timestamptz, $2::timestamptz
      FROM device
    RETURNING ${sessionColumns("s")}),
  "authorization" AS (
    INSERT INTO session.grants (id, session_id, key_id, salt, rotated_at)
    SELECT $22::uuid, started.id, $23::smallint, $24::bytea, $2::timestamptz FROM started),
  target AS (
    SELECT live.id, live.user_id, 'SESSION' AS kind, live.id::text AS key, 'EVICTED' AS reason
      FROM live WHERE live.place >= $7::int AND live.place < $7::int + cardinality($9::uuid[])),
  ${endSessions({
    state: "REVOKED",
    now: "$2",
    actor: "$1",
    outboxIds: "$9",
    condition: "true",
    exceptDevice: "SELECT device.id FROM device",
  })}
SELECT verdict.kind, verdict.kind = 'STARTED' AND head.user_id IS NULL AS moved,
       head.device_rev AS "deviceRev", head.epoch, (SELECT max(seq) FROM logged) AS "evictedSeq", started.*
  FROM verdict LEFT JOIN head ON true LEFT JOIN started ON true`;

interface StartRow extends UserChangeRow {
  readonly kind: StartOutcome["kind"];
  readonly deviceRev: string;
  readonly epoch: number;
  readonly evictedSeq: string | null;
}

const Evicted = z.coerce.number().nullable();

/** The start of sessions in Postgres. */
export function createStartSessionStore(pool: Pool): StartSessionStore {
  return {
    async start(command) {
      const row = await changeUser<StartRow>(pool, command.userId, {
        name: "start-session",
        text: START,
        values: valuesOf(command),
      });
      if (row.kind !== "STARTED") return { kind: row.kind };
      const { grantId, keyId, salt, policy } = command;
      return {
        kind: "STARTED",
        deviceRev: Number(row.deviceRev),
        evictedSeq: Evicted.parse(row.evictedSeq),
        authorization: {
          session: Session.parse(row),
          grantId,
          generation: 1,
          keyId,
          salt,
          accessTokenSeconds: policy.accessTokenSeconds,
          posture: policy.posture,
          jkt: null,
          epoch: row.epoch,
        },
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
    command.outboxIds,
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
  ];
}
