/**
 * The least that each operation costs the database: one prepared statement over plain `pg`, on our own tables, written
 * to leave out everything it can. It merges nothing, keeps no history and notifies nobody.
 */
import type { QueryConfig } from "pg";
import type { Change } from "../replica.ts";

/** The channel that carries the names of sockets to close. */
export const CLOSE_CHANNEL = "bench_close";
export const TELL_CHANNEL = "bench_tell";

/** $1 user. */
export const me = (userId: string): QueryConfig => ({
  name: "me",
  text: `SELECT id, email, created_at FROM identity.users WHERE id = $1 AND disabled_at IS NULL`,
  values: [userId],
});

/** One row per device and live session, the current device first. */
export const devices = (userId: string, deviceId: string): QueryConfig => ({
  name: "devices",
  text: `
SELECT d.id, coalesce(d.name, d.detected_name) AS name, d.platform, d.last_seen_at,
       s.id AS session_id, a.name AS application, s.started_at,
       least(s.idle_deadline, s.absolute_deadline) AS expires_at,
       CASE WHEN s.idle_deadline < s.absolute_deadline THEN 'IDLE' ELSE 'ABSOLUTE' END AS expires_because,
       u.email, c.acked_rev, h.rev AS head_rev
  FROM session.devices d
  JOIN identity.users u ON u.id = d.user_id
  LEFT JOIN session.sessions s
    ON s.device_id = d.id AND s.state = 'ACTIVE' AND s.idle_deadline > now() AND s.absolute_deadline > now()
  LEFT JOIN session.applications a ON a.id = s.application_id
  LEFT JOIN user_state.user_heads h ON h.user_id = d.user_id
  LEFT JOIN LATERAL (
    SELECT max(acked_rev) AS acked_rev FROM user_state.sync_clients WHERE user_id = d.user_id AND device_id = d.id
  ) c ON true
 WHERE d.user_id = $1
 ORDER BY d.id = $2 DESC, d.last_seen_at DESC, d.id DESC, s.started_at DESC
 LIMIT 500`,
  values: [userId, deviceId],
});

/** The compare-and-set of a rotation, with every deadline and state in its predicate. No row means refused. */
export const rotate = (grantId: string, generation: number): QueryConfig => ({
  name: "rotate",
  text: `
UPDATE session.grants g
   SET generation = g.generation + 1, confirmed_generation = g.generation, rotated_at = now()
  FROM session.sessions s
 WHERE g.id = $1 AND g.generation = $2 AND g.state = 'ACTIVE' AND s.id = g.session_id
   AND s.state = 'ACTIVE' AND s.idle_deadline > now() AND s.absolute_deadline > now()
RETURNING g.generation, s.id AS session_id, s.user_id, s.device_id, s.application_id, s.acr, s.amr`,
  values: [grantId, generation],
});

/** One row per live session of a person, those of the current device first. */
export const sessions = (userId: string, deviceId: string): QueryConfig => ({
  name: "sessions",
  text: `
SELECT d.id, coalesce(d.name, d.detected_name) AS name, d.last_seen_at, s.id AS session_id, s.started_at,
       s.last_active_at, least(s.idle_deadline, s.absolute_deadline) AS expires_at
  FROM session.devices d
  JOIN session.sessions s
    ON s.device_id = d.id AND s.state = 'ACTIVE' AND s.idle_deadline > now() AND s.absolute_deadline > now()
 WHERE d.user_id = $1
 ORDER BY d.id = $2 DESC, d.last_seen_at DESC, d.id DESC, s.started_at DESC`,
  values: [userId, deviceId],
});

/** Ends one session and its grants, and notifies with its id, in one statement. */
export const revokeSession = (userId: string, sessionId: string): QueryConfig => ({
  name: "revoke-session",
  text: `
WITH ended AS (
  UPDATE session.sessions SET state = 'REVOKED', ended_at = now(), end_reason = 'SIGNED_OUT'
   WHERE id = $2 AND user_id = $1 AND state = 'ACTIVE'
  RETURNING id
), closed AS (
  UPDATE session.grants g SET state = 'REVOKED' FROM ended WHERE g.session_id = ended.id
)
SELECT pg_notify('${CLOSE_CHANNEL}', id::text) FROM ended`,
  values: [userId, sessionId],
});

/** Head, client and entries in one statement; no row means that this is not the next seq. */
export const push = (userId: string, clientId: string, changes: readonly Change[]): QueryConfig => ({
  name: "push",
  text: `
WITH head AS (
  UPDATE user_state.user_heads SET rev = rev + 1 WHERE user_id = $1 RETURNING rev
), client AS (
  UPDATE user_state.sync_clients c SET last_seq = $4, seen_at = now()
    FROM head WHERE c.user_id = $1 AND c.client_id = $2 AND c.last_seq = $3
  RETURNING c.last_seq
), written AS (
  INSERT INTO user_state.state_entries AS e
         (user_id, namespace, key, field, kind, state, deleted, ms, rev, schema_version, bytes)
  SELECT $1, o.namespace, o.key, o.field, 'REGISTER',
         jsonb_build_object('history', '[]'::jsonb, 'standing', jsonb_build_object('value', o.value, 'deleted', false,
           'stamp', jsonb_build_object('ms', o.ms, 'counter', o.counter, 'clientId', $2))),
         false, o.ms, head.rev, 1, octet_length(o.value) + 2
    FROM head, client,
         unnest($5::bigint[], $6::text[], $7::text[], $8::text[], $9::text[], $10::bigint[], $11::int[])
           AS o (seq, namespace, key, field, value, ms, counter)
  ON CONFLICT (user_id, namespace, key, field) DO UPDATE
     SET state = excluded.state, ms = excluded.ms, rev = excluded.rev, bytes = excluded.bytes, deleted = false
   WHERE excluded.ms >= e.ms
  RETURNING rev
)
SELECT head.rev, client.last_seq, (SELECT count(*) FROM written)::int AS written FROM head, client`,
  values: [
    userId,
    clientId,
    (changes[0]?.seq ?? 0) - 1,
    changes.at(-1)?.seq ?? 0,
    changes.map(({ seq }) => seq),
    changes.map(({ namespace }) => namespace),
    changes.map(({ key }) => key),
    changes.map(({ field }) => field),
    changes.map(({ payload }) => payload.value),
    changes.map(({ stamp }) => stamp.ms),
    changes.map(({ stamp }) => stamp.counter),
  ],
});

/** Head and the changes after a revision, oldest first. */
export const pull = (userId: string, afterRev: number): QueryConfig => ({
  name: "pull",
  text: `
SELECT h.epoch, h.rev AS head_rev, e.namespace, e.key, e.field, e.state->'standing'->'value' AS value, e.deleted, e.rev
  FROM user_state.user_heads h
  LEFT JOIN LATERAL (
    SELECT * FROM user_state.state_entries WHERE user_id = $1 AND rev > $2 ORDER BY rev, namespace, key, field LIMIT 501
  ) e ON true
 WHERE h.user_id = $1`,
  values: [userId, afterRev],
});

/** A table for the yardstick, so that its revocation is a durable commit like ours. */
export const CREATE_CLOSED_SOCKETS = `
CREATE SCHEMA IF NOT EXISTS bench;
CREATE TABLE IF NOT EXISTS bench.closed_sockets (name text, at timestamptz NOT NULL DEFAULT now())`;

/** Records a revocation and notifies the sockets, in one statement. */
export const closeSocket = (name: string): QueryConfig => ({
  name: "close-socket",
  text: `
WITH closed AS (INSERT INTO bench.closed_sockets (name) VALUES ($1) RETURNING name)
SELECT pg_notify('${CLOSE_CHANNEL}', name) FROM closed`,
  values: [name],
});

export const CREATE_TOLD = `
CREATE SCHEMA IF NOT EXISTS bench;
CREATE TABLE IF NOT EXISTS bench.told (value text, at timestamptz NOT NULL DEFAULT now())`;

/** Records a value and sends it to the sockets of that name, in one statement. */
export const tell = (name: string, value: string): QueryConfig => ({
  name: "tell",
  text: `
WITH told AS (INSERT INTO bench.told (value) VALUES ($2) RETURNING value)
SELECT pg_notify('${TELL_CHANNEL}', $1 || ' ' || value) FROM told`,
  values: [name, value],
});
