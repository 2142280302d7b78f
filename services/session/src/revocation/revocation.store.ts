import { gather } from "@continuo/database";
import type { Pool } from "pg";
import { tokenNotYours } from "../application/application.ts";
import { advancedHeads, changeUsers, type UserChangeRow } from "../database/user-change.ts";
import type { PrismaClient } from "../database/generated/client.ts";
import { mayBeOpenSql } from "../policy/policy.store.ts";
import { isLive } from "../session/session.store.ts";
import { endSessions } from "./end-sessions.store.ts";
import {
  heardSince,
  type Ended,
  type EndedOfUser,
  type RevocationStore,
  type RevokeCommand,
  type RevokePresentedCommand,
  type Selector,
} from "./revocation.ts";

/**
 * $2 commands: one row per command, one command per user. `session`, `device` and `except_device`, where given, select
 * sessions; `with_approved` adds those approved in `session`; `asked_in` is a session that must itself be live.
 */
const COMMANDS = `
  command AS MATERIALIZED (
    SELECT given.place, c.* FROM unnest($2::text[]) WITH ORDINALITY AS given (json, place), json_to_record(given.json::json) AS c (
             user_id uuid, actor_id uuid, asked_in uuid, reason text, kind text, key text, session uuid, device uuid,
             except_device uuid, with_approved boolean, epoch int))`;

/** CTEs up to `target`: the live sessions that each command selects. $1 now. */
const TARGETS = `
  live AS MATERIALIZED (
    -- OFFSET 0, here and below: each by the index; joined, all that live may be read, and all that were ever approved.
    SELECT found.* FROM command
     CROSS JOIN LATERAL (
       SELECT s.id, s.user_id, s.device_id FROM session.sessions AS s
        WHERE s.user_id = command.user_id AND ${isLive("s", "$1::timestamptz")} OFFSET 0) AS found),
  lineage (id) AS (
    SELECT command.session FROM command WHERE command.with_approved
     UNION
    SELECT approved.id FROM lineage
     CROSS JOIN LATERAL (SELECT s.id FROM session.sessions AS s WHERE s.parent_id = lineage.id OFFSET 0) AS approved),
  target AS MATERIALIZED (
    SELECT live.id, live.user_id, command.actor_id, command.kind, command.key, command.reason
      FROM command JOIN live ON live.user_id = command.user_id
     WHERE (command.session IS NULL OR live.id = command.session
            OR (command.with_approved AND live.id IN (SELECT lineage.id FROM lineage)))
       AND (command.device IS NULL OR live.device_id = command.device)
       AND (command.except_device IS NULL OR live.device_id <> command.except_device)
       AND (command.asked_in IS NULL OR EXISTS (
             SELECT FROM live AS own WHERE own.id = command.asked_in AND own.user_id = command.user_id)))`;

/** CTEs from `target` on, which end its sessions. $1 now. */
const END_TARGETS = `
  ${advancedHeads("SELECT target.user_id FROM target")},
  ${endSessions({ state: "REVOKED", now: "$1", actor: "target.actor_id", condition: "true" })}`;

const REVOKE = `
WITH RECURSIVE ${COMMANDS}, ${TARGETS}, ${END_TARGETS}
SELECT head.user_id IS NULL AND EXISTS (SELECT FROM target WHERE target.user_id = command.user_id) AS moved,
       logged.seq, logged.told_at IS NULL AS posted, head.device_rev AS "deviceRev", logged.session_ids AS "sessionIds",
       (SELECT array_agg(DISTINCT device_id) FROM ended WHERE ended.user_id = command.user_id) AS "deviceIds"
  FROM command
  LEFT JOIN head ON head.user_id = command.user_id
  LEFT JOIN logged ON logged.user_id = command.user_id
 ORDER BY command.place`;

/**
 * One row per refresh token: $1 now, $2 grant ids, $3 salts, $4 clients that present them. For each user only the first
 * live session becomes a command; the rows of the others are `moved`.
 */
const REVOKE_PRESENTED = `
WITH presented AS MATERIALIZED (
    SELECT given.place, found.*, found.application_id = given.application_id AS is_theirs
      FROM unnest($2::uuid[], $3::bytea[], $4::text[]) WITH ORDINALITY AS given (grant_id, salt, application_id, place)
     CROSS JOIN LATERAL (
       SELECT s.id, s.user_id, s.device_id, s.application_id, ${isLive("s", "$1::timestamptz")} AS is_live
         FROM session.grants AS g JOIN session.sessions AS s ON s.id = g.session_id
        WHERE g.id = given.grant_id AND g.salt = given.salt OFFSET 0) AS found),
  command AS MATERIALIZED (
    SELECT DISTINCT ON (p.user_id) p.place, p.id, p.user_id, 0 AS epoch
      FROM presented AS p WHERE p.is_theirs AND p.is_live ORDER BY p.user_id, p.place),
  target AS (
    SELECT command.id, command.user_id, command.user_id AS actor_id, 'SESSION' AS kind, command.id::text AS key, 'SIGNED_OUT' AS reason
      FROM command), ${END_TARGETS}
SELECT presented.place, presented.is_theirs AS "isTheirs", presented.id AS "sessionId", presented.user_id AS "userId",
       presented.is_live AND head.user_id IS NULL AS moved, logged.seq, logged.told_at IS NULL AS posted,
       head.device_rev AS "deviceRev", logged.session_ids AS "sessionIds", ARRAY[presented.device_id] AS "deviceIds"
  FROM presented
  LEFT JOIN command USING (place)
  LEFT JOIN head ON head.user_id = command.user_id
  LEFT JOIN logged ON logged.user_id = command.user_id`;

/** $1 sessions. */
const MAY_BE_OPEN = `
SELECT EXISTS (SELECT FROM session.sessions AS s
                WHERE s.id = ANY ($1::uuid[]) AND ${mayBeOpenSql("s.application_id")} OFFSET 0) AS "mayBeOpen"`;

interface RevokeRow extends UserChangeRow {
  readonly seq: string | null;
  readonly posted: boolean;
  readonly deviceRev: string | null;
  readonly sessionIds: string[] | null;
  readonly deviceIds: string[] | null;
}

interface PresentedRow extends RevokeRow {
  readonly place: string;
  /** Whether the token was issued to the client that presents it. */
  readonly isTheirs: boolean;
  readonly sessionId: string;
  readonly userId: string;
}

/**
 * Revocations in Postgres. Concurrent ones share a statement and a commit, as each would wait for the head of the log.
 */
export function createRevocationStore(pool: Pool, prisma: PrismaClient): RevocationStore {
  const revoke = gather(
    async (commands: readonly RevokeCommand[]) => {
      const now = latestOf(commands);
      const rows = await changeUsers<RevokeCommand, RevokeRow>(pool, commands, (together) => ({
        name: "revoke",
        text: REVOKE,
        values: [now, together.map((command) => JSON.stringify(columnsOf(command)))],
      }));
      return rows.map((row) => endedOf(row, now));
    },
    { inHalves: true },
  );

  const revokePresented = gather<RevokePresentedCommand, EndedOfUser | undefined>(
    async (commands) => {
      const now = latestOf(commands);
      const { rows } = await pool.query<PresentedRow>({
        name: "revoke-presented",
        text: REVOKE_PRESENTED,
        values: [
          now,
          commands.map(({ presented }) => presented.grantId),
          commands.map(({ presented }) => presented.salt),
          commands.map(({ applicationId }) => applicationId),
        ],
      });
      const found = new Map(rows.map((row) => [Number(row.place), row]));
      return Promise.all(
        commands.map(async (_, index) => {
          const row = found.get(index + 1);
          if (row === undefined) return undefined;
          if (!row.isTheirs) return tokenNotYours();
          const { userId, sessionId } = row;
          const actor = { userId, sessionId };
          const ended = row.moved
            ? await revoke({ userId, selector: { kind: "SESSION", sessionId }, reason: "SIGNED_OUT", actor, now })
            : endedOf(row, now);
          return ended && { ...ended, userId };
        }),
      );
    },
    { inHalves: true },
  );

  return {
    revoke,
    revokePresented,

    async receipt(seq, actorId, now) {
      const row = await prisma.revocation.findFirst({
        where: { seq, actorId },
        include: { acks: { orderBy: { at: "asc" } } },
      });
      if (row === null) return undefined;
      const { rows } = await pool.query<{ mayBeOpen: boolean }>(MAY_BE_OPEN, [row.sessionIds]);
      const since = heardSince(now, rows[0]?.mayBeOpen ?? true);
      const replicas = await prisma.gatewayReplica.findMany({ where: { heardAt: { gt: since } } });
      const acks = row.acks.map(({ replica, at, socketsClosed }) => ({ replica, at, socketsClosed }));
      const pendingReplicas = replicas
        .map(({ name }) => name)
        .filter((name) => !acks.some(({ replica }) => replica === name));
      return { seq, at: row.at, sessionsEnded: row.sessionIds.length, acks, pendingReplicas };
    },
  };
}

function latestOf(commands: readonly { readonly now: Date }[]): Date {
  return new Date(Math.max(...commands.map(({ now }) => now.getTime())));
}

function endedOf({ seq, posted, deviceRev, sessionIds, deviceIds }: RevokeRow, at: Date): Ended | undefined {
  if (seq === null) return undefined;
  return {
    seq: Number(seq),
    posted,
    at,
    deviceRev: Number(deviceRev),
    sessionIds: sessionIds ?? [],
    deviceIds: deviceIds ?? [],
  };
}

/** The columns of a `command` row. */
function columnsOf({ userId, selector, reason, actor }: RevokeCommand): Readonly<Record<string, unknown>> {
  return {
    user_id: userId,
    actor_id: actor?.userId,
    asked_in: actor?.sessionId,
    reason,
    epoch: selector.kind === "EVERYWHERE" ? 1 : 0,
    with_approved: selector.kind === "LINEAGE",
    ...selectionOf(selector, userId),
  };
}

function selectionOf(selector: Selector, userId: string): Readonly<Record<string, string>> {
  switch (selector.kind) {
    case "SESSION":
    case "LINEAGE":
      return { kind: selector.kind, key: selector.sessionId, session: selector.sessionId };
    case "DEVICE":
      return { kind: "DEVICE", key: selector.deviceId, device: selector.deviceId };
    case "EVERYWHERE":
      return { kind: "USER", key: userId };
    case "OTHER_DEVICES":
      return { kind: "USER", key: userId, except_device: selector.exceptDeviceId };
  }
}
