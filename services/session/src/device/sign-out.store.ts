import type { Pool } from "pg";
import { z } from "zod";
import { mayHaveFollowedSql } from "../policy/policy.store.ts";
import type { Replica } from "../revocation/revocation.ts";
import { Session } from "../session/session.ts";
import { sessionColumns } from "../session/session.store.ts";
import type { SignOutStore } from "./sign-out.ts";

/**
 * $1 devices. A revocation and the sessions that it ended share one timestamp, by which both are found. The deadlines
 * bound only tokens minted under the session's current policy version, as activating that version may have brought them
 * forward.
 */
const LAST_SESSIONS = `
SELECT last.*, together."lastTokenBy", together."mayBeOpen", ack.list AS acks
  FROM unnest($1::uuid[]) AS device (id)
 CROSS JOIN LATERAL (
   SELECT ${sessionColumns("s")} FROM session.sessions AS s
    WHERE s.device_id = device.id
    ORDER BY least(s.ended_at, s.idle_deadline, s.absolute_deadline) DESC, s.id DESC LIMIT 1) AS last
 CROSS JOIN LATERAL (
   SELECT max(CASE WHEN p.version = s.policy_version THEN least(token.until, s.idle_deadline, s.absolute_deadline)
                   ELSE token.until END) AS "lastTokenBy",
          bool_or(p.posture = 'OPEN') AS "mayBeOpen"
     FROM session.sessions AS s JOIN session.policies AS p ON ${mayHaveFollowedSql("s", "p")}
    CROSS JOIN LATERAL (
      SELECT least(s.ended_at, s.idle_deadline, s.absolute_deadline)
             + make_interval(secs => p.access_token_seconds) AS until) AS token
    WHERE s.device_id = device.id AND (s.id = last.id OR s.ended_at = last."endedAt")) AS together
  LEFT JOIN LATERAL (
    SELECT json_agg(json_build_object('replica', a.replica, 'at', a.at, 'socketsClosed', a.sockets_closed)) AS list
      FROM session.revocations AS r JOIN session.revocation_acks AS a ON a.seq = r.seq
     WHERE r.at = last."endedAt" AND r.restores IS NULL AND last.id = ANY (r.session_ids)) AS ack ON true`;

const LastSession = Session.extend({
  lastTokenBy: z.date(),
  mayBeOpen: z.boolean(),
  acks: z.array(z.object({ replica: z.string(), at: z.coerce.date(), socketsClosed: z.number() })).nullable(),
}).transform(({ lastTokenBy, mayBeOpen, acks, ...session }) => ({
  session,
  lastTokenBy,
  mayBeOpen,
  acks: acks ?? [],
}));

/** The progress of sign-outs, in Postgres. */
export function createSignOutStore(pool: Pool): SignOutStore {
  return {
    async lastSessions(deviceIds) {
      const { rows } = await pool.query<Record<string, unknown>>({
        name: "last-sessions",
        text: LAST_SESSIONS,
        values: [deviceIds],
      });
      const found = rows.map((row) => LastSession.parse(row));
      return deviceIds.map((id) => found.find(({ session }) => session.deviceId === id));
    },

    async replicas() {
      const { rows } = await pool.query<Replica>({
        name: "gateway-replicas",
        text: 'SELECT name, heard_at AS "heardAt" FROM session.gateway_replicas',
      });
      return rows;
    },
  };
}
