/** Revocation among a thousand sockets at two gateways; and while the bus or session's database is gone. */
import { createTestDatabase, startFaultProxy, targetOf, throughProxy, type FaultProxy } from "@continuo/testkit";
import { randomUUID } from "node:crypto";
import { Pool } from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Crowd, type CountingSocket, gather, type Member } from "./crowd.ts";
import { atOf, cutOff, endOf, pairsOf, say, signOutPhone } from "./cut-off.ts";
import { ask, eventually, GraphError } from "./graph-client.ts";
import { PULL, PUSH, SIGN_OUT_EVERYWHERE } from "./operations.ts";
import { startProcess } from "./process.ts";
import { startSystem, type System } from "./system.ts";

let system: System;
let sql: Pool;
let crowd: Crowd;
/** Proxies between session and its database, and between the gateways and their bus. */
let database: FaultProxy;
let bus: FaultProxy;

describe("a thousand sockets at two gateways", () => {
  const opened = new AsyncDisposableStack();
  beforeAll(async () => {
    const { adminUrl, url } = opened.use(await createTestDatabase());
    sql = opened.adopt(new Pool({ connectionString: adminUrl, max: 4 }), (pool) => pool.end());
    const target = targetOf(adminUrl, 5432);
    [database, bus] = await Promise.all([startFaultProxy(target), startFaultProxy(target)]);
    opened.use(database);
    opened.use(bus);
    system = opened.use(
      await startSystem({
        databaseUrl: { ...url, session: throughProxy(url.session, database) },
        gatewayEnv: { DATABASE_URL: throughProxy(url.gateway, bus) },
        replicas: 2,
        logLevel: "warn",
      }),
    );
    await addApplications(sql);
    const startedAt = now();
    crowd = opened.use(
      await gather(system, [
        { applicationId: "strict", people: 70, devices: 2 },
        { applicationId: "wide", people: 80, devices: 1 },
        { applicationId: "open", people: 30, devices: 1 },
      ]),
    );
    say("a thousand sockets opened", [now() - startedAt]);
  });
  afterAll(() => opened.disposeAsync());

  test("whoever is signed out is cut off at both, everybody else goes on", async () => {
    expect(crowd.open).toBe(1_000);
    const pairs = pairsOf(crowd.of("strict"));
    const others = new Set(crowd.members.flatMap(({ sockets }) => sockets));

    const device: number[] = [];
    for (const [laptop, phone] of pairs.slice(0, 10)) {
      device.push(...(await signOutPhone([laptop, phone], system)));
      for (const socket of phone.sockets) others.delete(socket);
    }

    const user: number[] = [];
    for (const [laptop, phone] of pairs.slice(10, 20)) {
      const sockets = [...laptop.sockets, ...phone.sockets];
      const { signOutEverywhere } = await askAs(laptop, SIGN_OUT_EVERYWHERE);
      user.push(...(await cutOff(sockets, "SIGNED_OUT_REMOTELY", await atOf(signOutEverywhere))));
      for (const socket of sockets) others.delete(socket);
    }

    const wide = crowd.of("wide");
    const result = await operate("sessions", "revoke", "--application", "wide", "--yes");
    expect(result).toMatchObject({ sessionsEnded: wide.length, usersConcerned: wide.length });
    const { rows } = await sql.query<{ id: string; at: Date }>(
      "SELECT unnest(session_ids) AS id, at FROM session.revocations WHERE kind = 'APPLICATION' AND key = 'wide'",
    );
    const endedAt = new Map(rows.map(({ id, at }) => [id, at]));
    const application: number[] = [];
    for (const { sessionId, sockets } of wide) {
      application.push(...(await cutOff(sockets, "ADMINISTRATOR", endedAt.get(sessionId) ?? new Date(0))));
      for (const socket of sockets) others.delete(socket);
    }

    say("closed after the sign-out of a device", device);
    say("closed after signing out everywhere", user);
    say("closed after everything of an application was revoked", application);
    const acks = await eventually(
      "each gateway's word on each revocation",
      async () => acksOf(["USER", "APPLICATION"]),
      ({ confirmed: by }) => by.every((replicas) => replicas === 2),
    );
    // The gateways acknowledged as many sockets as were seen to close.
    expect(acks.sockets).toBe(user.length + application.length);
    say("told by the gateways", acks.latencies);

    // No other socket was affected, and a change still reaches its person's sockets, and no others.
    expect([...others].filter(hasEnded)).toHaveLength(0);
    expect(crowd.open).toBe(others.size);
    const [laptop] = pairs[0] ?? [];
    if (!laptop) throw new Error("there are no pairs");
    const before = laptop.sockets.map(({ batches }) => batches);
    await push(laptop);
    await eventually(
      "the change at all sockets of the laptop",
      async () => laptop.sockets.map(({ batches }, index) => batches - (before[index] ?? 0)),
      (news) => news.every((count) => count > 0),
    );
    const gone = crowd.members.flatMap(({ sockets }) => sockets).filter(hasEnded);
    expect(gone.reduce((bytes, { charactersAfter }) => bytes + charactersAfter, 0)).toBe(0);
    const [phone] = pairs.map(([, second]) => second);
    for (const url of system.urls) await expect(pull(url, phone)).rejects.toMatchObject({ reason: "SESSION_ENDED" });
  });

  test("the bus is cut: the log is read all the same, and pokes come again once it heals", async () => {
    const [cut, healed] = pairsOf(crowd.of("strict")).slice(20, 22);
    if (!cut || !healed) throw new Error("there are no pairs");
    bus.down();
    say("closed while the bus is cut", await signOutPhone(cut, system));
    bus.heal();
    say("closed when it has healed", await signOutPhone(healed, system));
    expect([cut[0], healed[0]].every(isThere)).toBe(true);
  });

  test("session's database is gone: each posture holds, and all is current once it is back", async () => {
    const [strict] = crowd.of("strict").filter(isThere);
    const [open, openToo] = crowd.of("open");
    await using vault = await gather(system, [{ applicationId: "closed", people: 5, devices: 1 }]);
    const [closed] = vault.members;
    if (!strict || !open || !openToo || !closed) throw new Error("somebody is missing");
    const [url] = system.urls;
    const outcomes = { strict: new Set<string>(), open: new Set<string>(), closed: new Set<string>() };
    const asked = async (kind: keyof typeof outcomes, member: Member): Promise<string> => {
      const outcome = await outcomeOf(pull(url, member));
      outcomes[kind].add(outcome);
      return outcome;
    };

    database.down();
    const downAt = now();
    await eventually(
      "strict sessions refused",
      () => asked("strict", strict),
      (outcome) => outcome !== "served",
    );
    const strictAt = now();
    await eventually(
      "closed sessions refused",
      () => asked("closed", closed),
      (outcome) => outcome !== "served",
    );
    const ends = await Promise.all(vault.members.flatMap(({ sockets }) => sockets.map(endOf)));
    say("strict sessions refused after the loss of the database", [strictAt - downAt]);
    say(
      "closed sockets closed after the loss of the database",
      ends.map(({ at }) => at - downAt),
    );
    for (let times = 0; times < 10; times += 1) await asked("open", open);

    expect(outcomes).toEqual({
      strict: new Set(["served", "UNAVAILABLE REVOCATION_UNKNOWN"]),
      open: new Set(["served"]),
      closed: new Set(["UNAVAILABLE REVOCATION_UNKNOWN"]),
    });
    expect(new Set(ends.map(({ code, reason }) => `${code} ${reason}`))).toEqual(new Set(["1013 REVOCATION_UNKNOWN"]));
    expect(await outcomeOf(push(open)), "an open session's change").toBe("UNAVAILABLE REVOCATION_UNKNOWN");
    expect(crowd.of("open").every(isThere)).toBe(true);
    expect(isThere(strict)).toBe(true);

    database.heal();
    const healedAt = now();
    for (const gateway of system.urls) {
      for (const member of [strict, open, closed]) {
        await eventually(
          "everybody served again",
          () => outcomeOf(pull(gateway, member)),
          (outcome) => outcome === "served",
        );
      }
    }
    say("everybody served again after the database is back", [now() - healedAt]);
    const before = strict.sockets.map(({ batches }) => batches);
    await push(strict);
    await eventually(
      "the strict session's sockets go on",
      async () => strict.sockets.map(({ batches }, index) => batches - (before[index] ?? 0)),
      (news) => news.every((count) => count > 0),
    );
    const result = await operate("sessions", "revoke", "--user", openToo.userId, "--yes");
    expect(result).toMatchObject({ sessionsEnded: 1 });
    await Promise.all(openToo.sockets.map(endOf));
  });
});

const now = (): number => performance.timeOrigin + performance.now();
const hasEnded = ({ end }: CountingSocket): boolean => end !== undefined;
const isThere = ({ sockets }: Member): boolean => !sockets.some(hasEnded);

async function addApplications(pool: Pool): Promise<void> {
  for (const [id, posture] of [
    ["strict", "STRICT"],
    ["wide", "STRICT"],
    ["open", "OPEN"],
    ["closed", "CLOSED"],
  ]) {
    await pool.query("INSERT INTO session.applications (id, name, created_at) VALUES ($1, $1, now())", [id]);
    await pool.query(
      `INSERT INTO session.policies
       SELECT (jsonb_populate_record(p, jsonb_build_object('application_id', $1::text, 'posture', $2::text))).*
         FROM session.policies AS p WHERE p.application_id = 'continuo'`,
      [id, posture],
    );
  }
}

const askAs = <Data>(
  { accessToken }: Member,
  operation: Parameters<typeof ask<Data>>[1],
  variables: Readonly<Record<string, unknown>> = {},
): Promise<Data> => ask(system.urls[0], operation, variables, accessToken);
const pull = async (url: string, member: Member | undefined): Promise<unknown> =>
  ask(url, PULL, {}, member?.accessToken);

async function push(member: Member): Promise<unknown> {
  const { pullState } = await ask(system.urls[0], PULL, {}, member.accessToken);
  const stamp = { ms: Date.now(), counter: 0 };
  const payload = { type: "SET", value: "x" };
  const op = { seq: 1, namespace: "notes", key: randomUUID(), field: "body", payload, stamp, baseRev: 0 };
  const input = { clientId: randomUUID(), epoch: pullState.epoch, clientNow: Date.now(), baseRev: 0, ops: [op] };
  return ask(system.urls[0], PUSH, { input }, member.accessToken);
}

/** `served`, or code and reason of the refusal. */
async function outcomeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return "served";
  } catch (cause) {
    if (cause instanceof GraphError) return `${cause.code} ${cause.reason}`;
    throw cause;
  }
}

async function acksOf(kinds: string[]): Promise<{ confirmed: number[]; sockets: number; latencies: number[] }> {
  const { rows } = await sql.query<{ replicas: number; sockets: number; latencies: number[] | null }>(
    `SELECT count(a.seq)::int AS replicas, coalesce(sum(a.sockets_closed), 0)::int AS sockets,
            array_agg(extract(epoch FROM a.at - r.at)::float8 * 1000) FILTER (WHERE a.seq IS NOT NULL) AS latencies
       FROM session.revocations AS r LEFT JOIN session.revocation_acks AS a ON a.seq = r.seq
      WHERE r.kind = ANY ($1) GROUP BY r.seq`,
    [kinds],
  );
  return {
    confirmed: rows.map(({ replicas }) => replicas),
    sockets: rows.reduce((sum, row) => sum + row.sockets, 0),
    latencies: rows.flatMap(({ latencies }) => latencies ?? []),
  };
}

/** Runs an operator command; resolves to its result. */
async function operate(...argv: string[]): Promise<unknown> {
  const command = await startProcess({
    name: argv.join(" "),
    file: "services/session/src/operator-main.ts",
    argv: [...argv, "--json"],
    env: system.environments.session,
  });
  const { code } = await command.ended();
  if (code !== 0) throw new Error(`${command.name} ended with ${code}:\n${command.log()}`);
  const result = command
    .log()
    .split("\n")
    .findLast((line) => line.startsWith("{") && !line.startsWith('{"progress"'));
  return JSON.parse(result ?? "null");
}
