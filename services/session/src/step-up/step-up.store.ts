import type { Pool } from "pg";
import { advancedHead, changeUser, seenHead, type UserChangeRow } from "../database/user-change.ts";
import { AUTHORIZATION_COLUMNS, AUTHORIZATION_JOINS, AuthorizationRow } from "../token/rotation.store.ts";
import { firstAuthorization } from "../token/access-token.ts";
import { Session } from "../session/session.ts";
import { isLive, sessionColumns } from "../session/session.store.ts";
import type { StepUpOutcome, StepUpStore } from "./step-up.ts";

/**
 * $1 user, $2 now, $3 session, $4 grant id, $5 its generation, $6 jti, $7 its expiry, $8 acr, $9 amr, $10 auth time,
 * $11 policy version, $12 idle seconds, $13 idle and $14 absolute deadline, $15 new grant id, $16 key id, $17 salt,
 * $18 thumbprint of the proven key, or null, $19 epoch of the sign-in. The session keeps the epoch that it began with.
 * The log entry tells gateways that the old grant, and with it its access tokens, is void.
 */
const STEP_UP = `
WITH ${seenHead("$1")},
  verdict AS MATERIALIZED (
    SELECT CASE
             WHEN EXISTS (SELECT FROM session.redeemed_grants AS r WHERE r.jti = $6::uuid) THEN 'GRANT_USED'
             WHEN (SELECT sign_in_epoch FROM seen) > $19::int THEN 'GRANT_VOID'
             WHEN NOT EXISTS (
               SELECT FROM session.grants AS g JOIN session.sessions AS s ON s.id = g.session_id
                WHERE g.id = $4::uuid AND g.generation = $5::int AND g.state = 'ACTIVE'
                  AND s.id = $3::uuid AND ${isLive("s", "$2::timestamptz")}) THEN 'CHANGED'
             ELSE 'STEPPED_UP' END AS kind),
  -- The key that becomes the device's: it has none, and the person no other device with this one.
  binding AS MATERIALIZED (
    SELECT d.id FROM session.sessions AS s JOIN session.devices AS d ON d.id = s.device_id
     WHERE s.id = $3::uuid AND d.jkt IS NULL AND $18::text IS NOT NULL
       AND NOT EXISTS (SELECT FROM session.devices AS o WHERE o.user_id = $1::uuid AND o.jkt = $18::text)),
  ${advancedHead("(SELECT kind FROM verdict) = 'STEPPED_UP'")},
  -- Its lock decides: a refresh may have advanced the grant meanwhile, without the head.
  closed AS (
    UPDATE session.grants AS g SET state = 'REVOKED'
      FROM head WHERE g.id = $4::uuid AND g.generation = $5::int AND g.state = 'ACTIVE'
    RETURNING g.session_id, g.jkt),
  redeemed AS (
    INSERT INTO session.redeemed_grants (jti, expires_at, grant_id) SELECT $6::uuid, $7::timestamptz, $15::uuid FROM closed),
  stepped AS (
    UPDATE session.sessions AS s
       SET acr = $8, amr = $9::text[], auth_time = $10::timestamptz, policy_version = $11::int, idle_seconds = $12::int,
           idle_deadline = $13::timestamptz,
           absolute_deadline = least($14::timestamptz, (SELECT parent.absolute_deadline FROM session.sessions AS parent
                                                         WHERE parent.id = s.parent_id)),
           last_active_at = greatest(s.last_active_at, $2::timestamptz)
      FROM closed WHERE s.id = closed.session_id
    RETURNING ${sessionColumns("s")}),
  opened AS (
    INSERT INTO session.grants (id, session_id, key_id, salt, rotated_at, jkt)
    SELECT $15::uuid, closed.session_id, $16::smallint, $17::bytea, $2::timestamptz, coalesce(closed.jkt, $18::text)
      FROM closed),
  stamped AS (
    UPDATE session.devices AS d
       SET rev = head.device_rev, last_seen_at = greatest(d.last_seen_at, $2::timestamptz),
           jkt = CASE WHEN d.id IN (SELECT binding.id FROM binding) THEN $18::text ELSE d.jkt END
      FROM head, stepped WHERE d.id = stepped."deviceId"),
  audited AS (
    INSERT INTO session.auth_events (user_id, at, type, session_id, device_id, actor_id, detail)
    SELECT stepped."userId", $2::timestamptz, event.type, stepped.id, stepped."deviceId", stepped."userId", event.detail
      FROM stepped
     CROSS JOIN LATERAL (VALUES
       (1, 'DEVICE_KEY_BOUND', jsonb_build_object('jkt', $18::text)),
       (2, 'STEPPED_UP', jsonb_build_object('acr', $8::text, 'amr', $9::text[]))) AS event (place, type, detail)
     WHERE event.place = 2 OR EXISTS (SELECT FROM binding)
     ORDER BY event.place),
  log_head AS (
    UPDATE session.revocation_head AS r SET seq = r.seq + 1 FROM stepped WHERE r.id = 1 RETURNING r.seq),
  logged AS (
    INSERT INTO session.revocations (seq, kind, key, session_ids, reason, at)
    SELECT log_head.seq, 'GRANT', $4::uuid::text, '{}', 'STEPPED_UP', $2::timestamptz FROM log_head)
SELECT CASE WHEN verdict.kind = 'STEPPED_UP' AND stepped.id IS NULL THEN 'CHANGED' ELSE verdict.kind END AS kind,
       verdict.kind = 'STEPPED_UP' AND head.user_id IS NULL AS moved,
       head.device_rev AS "deviceRev", head.epoch, log_head.seq, stepped.*
  FROM verdict LEFT JOIN head ON true LEFT JOIN log_head ON true LEFT JOIN stepped ON true`;

/** $1 jti, $2 session, $3 presented grant, $4 thumbprint of the proven key, or null, $5 now. */
const ANSWERED = `
  SELECT ${AUTHORIZATION_COLUMNS}
    FROM session.redeemed_grants AS r JOIN session.grants AS g ON g.id = r.grant_id,
         session.sessions AS s, session.policies AS p, session.user_heads AS u
   WHERE r.jti = $1::uuid AND g.session_id = $2::uuid AND g.id <> $3::uuid AND (g.jkt IS NULL OR g.jkt = $4)
     AND g.state = 'ACTIVE' AND g.generation = 1 AND g.confirmed_generation = 0
     AND ${AUTHORIZATION_JOINS} AND ${isLive("s", "$5::timestamptz")}`;

interface StepUpRow extends UserChangeRow {
  readonly kind: StepUpOutcome["kind"];
  readonly deviceRev: string;
  readonly seq: string;
  readonly epoch: number;
}

/** Step-up in Postgres. */
export function createStepUpStore(pool: Pool): StepUpStore {
  return {
    async answered({ jti, sessionId, grantId, jkt, now }) {
      const { rows } = await pool.query<Record<string, unknown>>({
        name: "step-up-answered",
        text: ANSWERED,
        values: [jti, sessionId, grantId, jkt, now],
      });
      return rows[0] && AuthorizationRow.parse(rows[0]);
    },

    async stepUp(command) {
      const { session, from, policy, grantId, keyId, salt } = command;
      const row = await changeUser<StepUpRow>(pool, session.userId, {
        name: "step-up",
        text: STEP_UP,
        values: [
          session.userId,
          command.now,
          session.id,
          from.grantId,
          from.generation,
          command.jti,
          command.jtiExpiresAt,
          command.acr,
          command.amr,
          command.authTime,
          policy.version,
          policy.idleSeconds,
          command.idleDeadline,
          command.absoluteDeadline,
          grantId,
          keyId,
          salt,
          command.jkt,
          command.signInEpoch,
        ],
      });
      if (row.kind !== "STEPPED_UP") return { kind: row.kind };
      const grant = { grantId, keyId, salt, jkt: from.jkt ?? command.jkt };
      return {
        kind: "STEPPED_UP",
        deviceRev: Number(row.deviceRev),
        seq: Number(row.seq),
        authorization: firstAuthorization(Session.parse(row), grant, { policy, epoch: row.epoch }),
      };
    },
  };
}
