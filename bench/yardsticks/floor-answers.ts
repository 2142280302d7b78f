/** The floor's answers: turns rows into the JSON that the graph would answer to the same request. */
import type { Pool } from "pg";
import { z } from "zod";
import type { Caller } from "./floor-tokens.ts";
import { devices, me, pull, push, revokeSession, sessions } from "./statements.ts";

const Person = z.object({ id: z.string(), email: z.string(), created_at: z.date() });

export async function answerMe(pool: Pool, caller: Caller): Promise<unknown> {
  const { rows } = await pool.query(me(caller.sub));
  const { id, email, created_at } = Person.parse(rows[0]);
  return { me: { id, email, createdAt: created_at.toISOString() } };
}

interface DeviceRow {
  id: string;
  name: string;
  platform: string;
  last_seen_at: Date;
  session_id: string | null;
  application: string;
  started_at: Date;
  expires_at: Date;
  expires_because: string;
  email: string;
  acked_rev: string | null;
  head_rev: string | null;
}

export async function answerDevices(pool: Pool, caller: Caller): Promise<unknown> {
  const { rows } = await pool.query<DeviceRow>(devices(caller.sub, caller.did));
  const nodes = [...Map.groupBy(rows, ({ id }) => id).values()].flatMap((ofDevice) => {
    const [device] = ofDevice;
    return device
      ? [
          deviceOf(
            device,
            ofDevice.filter(({ session_id }) => session_id !== null),
            caller,
          ),
        ]
      : [];
  });
  return { viewer: { user: { email: rows[0]?.email }, devices: { totalCount: nodes.length, nodes } } };
}

function deviceOf(device: DeviceRow, sessions: readonly DeviceRow[], caller: Caller): unknown {
  const { acked_rev: acked, head_rev: head } = device;
  return {
    id: device.id,
    name: device.name,
    platform: device.platform,
    isCurrent: device.id === caller.did,
    isSignedIn: sessions.length > 0,
    lastSeenAt: device.last_seen_at.toISOString(),
    sessions: sessions.map((row) => ({
      id: row.session_id,
      application: { name: row.application },
      isCurrent: row.session_id === caller.sid,
      state: "ACTIVE",
      startedAt: row.started_at.toISOString(),
      expiresAt: row.expires_at.toISOString(),
      expiresBecause: row.expires_because,
    })),
    syncStatus: acked === null ? null : { ackedRev: Number(acked), headRev: Number(head) },
  };
}

interface SessionRow {
  id: string;
  name: string;
  last_seen_at: Date;
  session_id: string;
  started_at: Date;
  last_active_at: Date;
  expires_at: Date;
}

export async function answerSessions(pool: Pool, caller: Caller): Promise<unknown> {
  const { rows } = await pool.query<SessionRow>(sessions(caller.sub, caller.did));
  const nodes = [...Map.groupBy(rows, ({ id }) => id).values()].map((ofDevice) => ({
    id: ofDevice[0]?.id,
    name: ofDevice[0]?.name,
    lastSeenAt: ofDevice[0]?.last_seen_at.toISOString(),
    sessions: ofDevice.map((row) => ({
      id: row.session_id,
      startedAt: row.started_at.toISOString(),
      lastActiveAt: row.last_active_at.toISOString(),
      expiresAt: row.expires_at.toISOString(),
    })),
  }));
  return { viewer: { devices: { nodes } } };
}

const Revoke = z.object({ sessionId: z.uuid() });

export async function answerRevoke(pool: Pool, caller: Caller, variables: unknown): Promise<unknown> {
  const { rowCount } = await pool.query(revokeSession(caller.sub, Revoke.parse(variables).sessionId));
  return { revoked: rowCount === 1 };
}

const Push = z.object({
  input: z.object({
    clientId: z.uuid(),
    epoch: z.uuid(),
    clientNow: z.number(),
    baseRev: z.number(),
    ops: z.array(
      z.object({
        seq: z.number().int(),
        namespace: z.string(),
        key: z.string(),
        field: z.string(),
        payload: z.object({ type: z.literal("SET"), value: z.string() }),
        stamp: z.object({ ms: z.number(), counter: z.number() }),
        baseRev: z.number(),
      }),
    ),
  }),
});
const Pushed = z.object({ rev: z.coerce.number(), last_seq: z.coerce.number(), written: z.number() });

export async function answerPush(pool: Pool, caller: Caller, variables: unknown): Promise<unknown> {
  const { clientId, ops } = Push.parse(variables).input;
  const { rows } = await pool.query(push(caller.sub, clientId, ops));
  const { rev, last_seq } = Pushed.parse(rows[0]);
  const outcomes = ops.map(({ seq }) => ({ seq, status: "APPLIED", rev }));
  return { pushState: { outcomes, lastSeq: last_seq, headRev: rev } };
}

const Pull = z.object({ since: z.string() });

interface EntryRow {
  epoch: string;
  head_rev: string;
  namespace: string;
  key: string;
  field: string;
  value: unknown;
  deleted: boolean;
  rev: string | null;
}

/** The floor's cursor is the plain revision. */
export async function answerPull(pool: Pool, caller: Caller, variables: unknown): Promise<unknown> {
  const { rows } = await pool.query<EntryRow>(pull(caller.sub, Number(Pull.parse(variables).since)));
  const headRev = Number(rows[0]?.head_rev);
  const entries = rows
    .filter(({ rev }) => rev !== null)
    .map(({ namespace, key, field, value, deleted, rev }) => ({
      namespace,
      key,
      field,
      value,
      deleted,
      rev: Number(rev),
    }));
  return { pullState: { to: String(headRev), epoch: rows[0]?.epoch, headRev, hasMore: rows.length > 500, entries } };
}
