import type { Pool } from "pg";
import { advancedHead, changeUser, seenHead, type UserChangeRow } from "../database/user-change.ts";
import type { PrismaClient } from "../database/generated/client.ts";
import { isLive } from "../session/session.store.ts";
import { endSessions } from "./end-sessions.store.ts";
import type { RevocationStore, Selector } from "./revocation.ts";

/**
 * $1 user, $2 now, $3 reason, $4 actor, $5 outbox ids, $6 kind, $7 key; $8 session, $9 device, $10 not this device,
 * $11 with what was approved in it?, $12 what to add to the epoch, $13 session that asks.
 */
const REVOKE = `
WITH RECURSIVE ${seenHead("$1")},
  lineage (id) AS (
    SELECT s.id FROM session.sessions AS s WHERE s.id = $8::uuid AND s.user_id = $1::uuid
     UNION
    SELECT s.id FROM session.sessions AS s JOIN lineage ON s.parent_id = lineage.id WHERE $11::boolean),
  target AS MATERIALIZED (
    SELECT s.id, s.user_id, $6::text AS kind, $7::text AS key, $3::text AS reason
      FROM session.sessions AS s
     WHERE s.user_id = $1::uuid AND ${isLive("s", "$2::timestamptz")}
       AND ($8::uuid IS NULL OR s.id IN (SELECT lineage.id FROM lineage)) AND ($9::uuid IS NULL OR s.device_id = $9)
       AND ($10::uuid IS NULL OR s.device_id <> $10)
       AND ($13::uuid IS NULL OR EXISTS (
             SELECT FROM session.sessions AS own
              WHERE own.id = $13 AND own.user_id = $1::uuid AND ${isLive("own", "$2::timestamptz")}))),
  ${advancedHead("EXISTS (SELECT FROM target)", "$12::int")},
  ${endSessions({ state: "REVOKED", now: "$2", actor: "$4", outboxIds: "$5", condition: "true" })}
SELECT EXISTS (SELECT FROM target) AND NOT EXISTS (SELECT FROM head) AS moved,
       (SELECT seq FROM logged) AS seq,
       (SELECT device_rev FROM head) AS "deviceRev",
       (SELECT array_agg(id) FROM ended) AS "sessionIds",
       (SELECT array_agg(DISTINCT device_id) FROM ended) AS "deviceIds"`;

interface RevokeRow extends UserChangeRow {
  readonly seq: string | null;
  readonly deviceRev: string | null;
  readonly sessionIds: string[] | null;
  readonly deviceIds: string[] | null;
}

/** Revocations in Postgres. */
export function createRevocationStore(pool: Pool, prisma: PrismaClient): RevocationStore {
  return {
    async revoke({ userId, selector, reason, actor, outboxId, now }) {
      const selected = columnsOf(selector, userId);
      const { kind, key, sessionId = null, deviceId = null, exceptDeviceId = null } = selected;
      const row = await changeUser<RevokeRow>(pool, userId, {
        name: "revoke",
        text: REVOKE,
        values: [
          userId,
          now,
          reason,
          actor?.userId ?? null,
          [outboxId],
          kind,
          key,
          sessionId,
          deviceId,
          exceptDeviceId,
          selector.kind === "LINEAGE",
          selector.kind === "EVERYWHERE" ? 1 : 0,
          actor?.sessionId ?? null,
        ],
      });
      if (row.seq === null) return undefined;
      return {
        seq: Number(row.seq),
        deviceRev: Number(row.deviceRev),
        sessionIds: row.sessionIds ?? [],
        deviceIds: row.deviceIds ?? [],
      };
    },

    async receipt(seq, actorId, heardSince) {
      const row = await prisma.revocation.findFirst({
        where: { seq, actorId },
        include: { acks: { orderBy: { at: "asc" } } },
      });
      if (row === null) return undefined;
      const replicas = await prisma.gatewayReplica.findMany({ where: { heardAt: { gt: heardSince } } });
      const acks = row.acks.map(({ replica, at, socketsClosed }) => ({ replica, at, socketsClosed }));
      const pendingReplicas = replicas
        .map(({ name }) => name)
        .filter((name) => !acks.some(({ replica }) => replica === name));
      return { seq, at: row.at, sessionsEnded: row.sessionIds.length, acks, pendingReplicas };
    },
  };
}

function columnsOf(
  selector: Selector,
  userId: string,
): { kind: string; key: string; sessionId?: string; deviceId?: string; exceptDeviceId?: string } {
  switch (selector.kind) {
    case "SESSION":
      return { kind: "SESSION", key: selector.sessionId, sessionId: selector.sessionId };
    case "DEVICE":
      return { kind: "DEVICE", key: selector.deviceId, deviceId: selector.deviceId };
    case "LINEAGE":
      return { kind: "LINEAGE", key: selector.sessionId, sessionId: selector.sessionId };
    case "EVERYWHERE":
      return { kind: "USER", key: userId };
    case "OTHER_DEVICES":
      return { kind: "USER", key: userId, exceptDeviceId: selector.exceptDeviceId };
  }
}
