/** Revocation among a thousand sockets at two gateways; and while bus, session's database or both are gone. */
import { createTestDatabase, findRedisServer, freePort, startFaultProxy, startRedisServer } from "@continuo/testkit";
import { targetOf, throughProxy, type FaultProxy } from "@continuo/testkit";
import { randomUUID } from "node:crypto";
import { Pool } from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { z } from "zod";
import { type Crowd, type CountingSocket, gather, type Member, type SocketEnd } from "./crowd.ts";
import { ask, eventually, GraphError } from "./graph-client.ts";
import { PULL, PUSH, RECEIPT, SIGN_OUT_DEVICE, SIGN_OUT_EVERYWHERE } from "./operations.ts";
import { startProcess } from "./process.ts";
import { startSystem, type System } from "./system.ts";

/** Nothing here is as slow as this; what is measured is printed. Milliseconds. */
const AT_THE_LATEST_MS = 5_000;

let system: System;
let sql: Pool;
let crowd: Crowd;
/** Between session and its database; between the gateways and their bus. */
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
      const { signOutDevice } = await askAs(laptop, SIGN_OUT_DEVICE, { id: phone.deviceId });
      device.push(...(await cutOff(phone.sockets, "SIGNED_OUT_REMOTELY", await atOf(signOutDevice))));
      await confirmed(laptop, signOutDevice, phone.sockets.length);
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
    // What the gateways say they closed is what was seen to close.
    expect(acks.sockets).toBe(user.length + application.length);
    say("told by the gateways", acks.latencies);

    // Nobody else was touched; and a change still reaches whoever is there, and no one else.
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
    expect(gone.reduce((bytes, { bytesAfter }) => bytes + bytesAfter, 0)).toBe(0);
    const [phone] = pairs.map(([, second]) => second);
    for (const url of system.urls) await expect(pull(url, phone)).rejects.toMatchObject({ reason: "SESSION_ENDED" });
  });

  test("the bus is cut: the log is read all the same, and pokes come again once it heals", async () => {
    const [cut, healed] = pairsOf(crowd.of("strict")).slice(20, 22);
    if (!cut || !healed) throw new Error("there are no pairs");
    bus.down();
    say("closed while the bus is cut", await signOutPhone(cut));
    bus.heal();
    say("closed when it has healed", await signOutPhone(healed));
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

const redis = findRedisServer();
describe.skipIf(redis === undefined)("over Redis", () => {
  test("Redis is killed: the log is read all the same, and pokes come again with it", async () => {
    await using stack = new AsyncDisposableStack();
    const { url } = stack.use(await createTestDatabase());
    const options = { binary: redis ?? "", port: await freePort() };
    const first = stack.use(await startRedisServer(options));
    const over = stack.use(await startSystem({ databaseUrl: url, redisUrl: first.url, logLevel: "silent" }));
    const some = stack.use(await gather(over, [{ applicationId: "continuo", people: 4, devices: 2 }]));
    const [there, gone, back] = pairsOf(some.members);
    if (!there || !gone || !back) throw new Error("somebody is missing");
    say("closed with Redis", await signOutPhone(there, over));
    await first[Symbol.asyncDispose]();
    say("closed without Redis", await signOutPhone(gone, over));
    stack.use(await startRedisServer(options));
    say("closed with Redis again", await signOutPhone(back, over));
    expect(some.open).toBe(2 * (some.members.length - 3));
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

/** The two devices of each person. */
function pairsOf(members: readonly Member[]): (readonly [Member, Member])[] {
  const pairs: (readonly [Member, Member])[] = [];
  for (const [index, first] of members.entries()) {
    const second = members[index + 1];
    if (second?.userId === first.userId) pairs.push([first, second]);
  }
  return pairs;
}

type Asked<Operation> = Operation extends { data: z.ZodType<infer Data> } ? Data : never;
const askAs = <Data>(
  { accessToken }: Member,
  operation: Parameters<typeof ask<Data>>[1],
  variables: Readonly<Record<string, unknown>> = {},
  by = system,
): Promise<Data> => ask(by.urls[0], operation, variables, accessToken);
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

type SignOut = Asked<typeof SIGN_OUT_DEVICE>["signOutDevice"];
async function atOf({ receipt }: SignOut): Promise<Date> {
  if (!receipt) throw new Error("nobody was signed out");
  return new Date(receipt.at);
}

async function endOf({ ended }: CountingSocket): Promise<SocketEnd> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("a socket stayed open")), 2 * AT_THE_LATEST_MS);
  });
  return Promise.race([ended, late]).finally(() => clearTimeout(timer));
}

/** How long after `at` each was told why, and closed. */
async function cutOff(sockets: readonly CountingSocket[], why: string, at: Date): Promise<number[]> {
  const ends = await Promise.all(sockets.map(endOf));
  for (const { code, reason } of ends) expect(`${code} ${reason}`).toBe(`4403 SESSION_ENDED: ${why}`);
  for (const { lastWords } of sockets) expect(lastWords).toEqual(["SESSION_ENDED"]);
  const latencies = ends.map((end) => end.at - at.getTime());
  expect(Math.max(...latencies)).toBeLessThan(AT_THE_LATEST_MS);
  return latencies;
}

async function signOutPhone([laptop, phone]: readonly [Member, Member], by = system): Promise<number[]> {
  const { signOutDevice } = await askAs(laptop, SIGN_OUT_DEVICE, { id: phone.deviceId }, by);
  return cutOff(phone.sockets, "SIGNED_OUT_REMOTELY", await atOf(signOutDevice));
}

/** The receipt, once it is complete, says what was seen. */
async function confirmed(member: Member, { receipt }: SignOut, sockets: number): Promise<void> {
  const { revocationReceipt } = await eventually(
    "a complete receipt",
    () => askAs(member, RECEIPT, { seq: receipt?.seq }),
    (answer) => answer.revocationReceipt.completedAt !== null,
  );
  expect(revocationReceipt.pendingReplicas).toEqual([]);
  expect(revocationReceipt.acks.reduce((sum, ack) => sum + ack.socketsClosed, 0)).toBe(sockets);
  expect(revocationReceipt.acks).toHaveLength(2);
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

/** Runs a command of the operator; resolves to its result. */
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

function say(what: string, latencies: readonly number[]): void {
  const sorted = latencies.toSorted((a, b) => a - b);
  const at = (share: number): string => `${Math.round(sorted[Math.ceil(share * sorted.length) - 1] ?? Number.NaN)} ms`;
  process.stdout.write(`  ${what}: p50 ${at(0.5)}, p99 ${at(0.99)} of ${sorted.length}\n`);
}
