import { migrate, startEmbeddedPostgres, type EmbeddedPostgres } from "@continuo/database";
import { databaseUrls } from "@continuo/embedded/rooms";
import { createLogger } from "@continuo/process";
import { DEFINITION } from "@continuo/user-state/simulation";
import { startFaultProxy, targetOf, testRolePasswords } from "@continuo/testkit";
import { randomInt, randomUUID } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Pool } from "pg";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { createDevice, signUp, type Device } from "./device.ts";
import { eventually } from "./graph-client.ts";
import { liveThrough, type Load } from "./history.ts";
import { DEVICE_CHANGED, ME, SIGN_OUT_DEVICE, STATE_CHANGES } from "./operations.ts";
import { runToEnd } from "./process.ts";
import { connectTo, stoodOf, type Ground } from "./state-client.ts";
import { killPostgres } from "./state-service.ts";
import { follow, STOCK_CLIENTS } from "./stock-clients.ts";
import { tellStory } from "./story.ts";
import { startSystem, type System } from "./system.ts";

const quiet = createLogger({ name: "faults", level: "silent" });
const opened = new AsyncDisposableStack();
let postgres: EmbeddedPostgres;
let system: System;

beforeAll(async () => {
  const dataDirectory = await mkdtemp(join(tmpdir(), "continuo-faults-"));
  opened.defer(() => rm(dataDirectory, { recursive: true, force: true }));
  postgres = opened.use(await startEmbeddedPostgres({ dataDirectory, tuning: "durable", log: quiet }));
  await migrate({ adminUrl: postgres.adminUrl, rolePasswords: testRolePasswords, log: quiet });
  system = opened.use(await startSystem({ databaseUrl: databaseUrls(postgres.adminUrl, testRolePasswords) }));
});
afterAll(() => opened.disposeAsync());
afterEach(() => tellStory({ gateways: system.urls, narrate: () => undefined }));

async function signedIn(names: readonly string[]): Promise<Device[]> {
  const person = await signUp(system.urls[0]);
  const devices = names.map((name) => createDevice({ gateway: system.urls[0], name, platform: "OTHER" }));
  for (const device of devices) {
    await device.signIn(person);
    await device.pull();
  }
  return devices;
}

test("a worker killed in the middle of a fan-out: each sign-out is seen on the other device, and told to the end", async () => {
  const sql = new Pool({ connectionString: postgres.adminUrl, max: 1 });
  await using _pool = { [Symbol.asyncDispose]: () => sql.end() };
  const count = async (query: string): Promise<number> =>
    (await sql.query<{ count: number }>(query)).rows[0]?.count ?? 0;
  // Unrelated to these sessions, but while any webhook exists, the fan-out examines every sign-out.
  await sql.query("INSERT INTO session.applications (id, name, created_at) VALUES ('other', 'Other', now())");
  await sql.query(
    "INSERT INTO session.webhooks (id, application_id, url, sealed_secret, created_at) VALUES (gen_random_uuid(), 'other', 'https://hook.test', '', now())",
  );
  const names = ["Laptop", ...Array.from({ length: 8 }, (_, index) => `Phone ${index}`)];
  const [laptop, ...others] = await signedIn(names);
  if (!laptop) throw new Error("nobody signed in");
  await using live = laptop.goLive();
  const watched = live.watch(DEVICE_CHANGED);
  const revocations = `session.revocations WHERE key IN (${others.map(({ id }) => `'${id}'`).join()})`;
  const told = (): Promise<number> => count(`SELECT count(told_at)::int FROM ${revocations}`);

  const signOuts = Promise.all(others.map((phone) => laptop.ask(SIGN_OUT_DEVICE, { id: phone.id })));
  await eventually("a first one told", told, (number) => number > 0);
  await system.workers.session.stop("SIGKILL");
  await signOuts;
  await system.workers.session.start();

  await eventually(
    "every event handed over",
    () => count("SELECT count(*)::int FROM session.outbox WHERE enqueued_at IS NULL"),
    (waiting) => waiting === 0,
  );
  await eventually("every sign-out told", told, (number) => number === others.length);
  expect(await count(`SELECT count(*)::int FROM ${revocations}`), "and none twice").toBe(others.length);
  const signedOut = new Set<string>();
  await watched.until("every phone signed out", ({ deviceChanged }) => {
    for (const { id, isSignedIn } of deviceChanged.devices) if (!isSignedIn) signedOut.add(id);
    return signedOut.size === others.length;
  });
});

test("a gateway killed: whoever watched goes on from its cursor and misses nothing", async () => {
  const [gateway] = system.gateways;
  const [phone, laptop] = await signedIn(["Phone", "Laptop"]);
  if (!phone || !laptop) throw new Error("nobody signed in");
  const before = laptop.goLive();
  const first = before.watch(STATE_CHANGES, { since: laptop.cursor });
  await first.until("the first batch", ({ stateChanges }) => {
    laptop.apply(stateChanges);
    return true;
  });
  phone.change("notes/a/body", "before the fall");
  await phone.push();

  await gateway.stop("SIGKILL");
  expect(await before.closed).toMatchObject({ code: 1006 });
  await gateway.start();
  phone.change("notes/b/body", "after the fall");
  await phone.push();

  await using after = laptop.goLive();
  await after.watch(STATE_CHANGES, { since: laptop.cursor }).until("both notes", ({ stateChanges }) => {
    laptop.apply(stateChanges);
    return laptop.state.get("notes/b/body") === "after the fall";
  });
  expect(laptop.state.get("notes/a/body")).toBe("before the fall");
});

test("sockets killed at random and a gateway restarted: every stock client receives an unbroken sequence", async () => {
  const [gateway] = system.gateways;
  const names = Object.keys(STOCK_CLIENTS);
  const [phone, ...devices] = await signedIn(["Phone", ...names]);
  if (!phone) throw new Error("nobody signed in");
  await using stack = new AsyncDisposableStack();
  const wires = await Promise.all(devices.map(async () => stack.use(await startFaultProxy(targetOf(gateway.url, 80)))));
  const followers = Object.values(STOCK_CLIENTS).map((createSubscribe, index) =>
    follow(
      createSubscribe({
        url: `http://127.0.0.1:${wires[index]?.port}`,
        accessToken: () => devices[index]?.accessToken ?? "",
      }),
    ),
  );
  const expected: string[] = [];
  const restart = async (signal: NodeJS.Signals): Promise<void> => {
    await gateway.stop(signal);
    await gateway.start();
  };
  let restarting = Promise.resolve();
  for (let change = 0; change < 40; change += 1) {
    if (change === 10) restarting = restart("SIGTERM");
    if (change === 25) restarting = restarting.then(() => restart("SIGKILL"));
    const path = `notes/${randomUUID()}/body`;
    phone.change(path, change);
    await insist(() => phone.push());
    expected.push(path);
    if (randomInt(3) === 0) wires[randomInt(wires.length)]?.cut();
  }
  await restarting;
  for (const [index, { seen, faults, resumed, stop }] of followers.entries()) {
    const name = names[index] ?? "";
    await eventually(
      `all changes to ${name}`,
      async () => seen.length,
      (length) => length >= expected.length,
    );
    await stop();
    expect([name, faults, seen]).toEqual([name, [], expected]);
    expect(resumed(), `${name} was interrupted`).toBeGreaterThanOrEqual(2);
  }
});

test("Postgres killed under load: nothing that was acknowledged is lost, and nobody is signed out", async () => {
  const devices = await signedIn(["Phone", "Laptop", "Tablet"]);

  const works = devices.map(work);
  await eventually(
    "load",
    async () => Math.min(...works.map(({ acknowledged }) => acknowledged.size)),
    (least) => least >= 5,
  );
  await killPostgres(postgres, "SIGKILL");
  const fallen = works.map(({ acknowledged }) => acknowledged.size);
  await eventually(
    "work going on after the fall",
    async () => works.every(({ acknowledged }, index) => acknowledged.size >= (fallen[index] ?? 0) + 5),
    Boolean,
  );
  await Promise.all(works.map((each) => each.stop()));

  for (const [index, device] of devices.entries()) {
    await device.pull();
    const lost = [...(works[index]?.acknowledged ?? [])].filter(([path, value]) => device.state.get(path) !== value);
    expect(lost, `${device.name} lost what was acknowledged`).toEqual([]);
    await device.refresh();
    expect((await device.ask(ME)).me).not.toBeNull();
  }
});

test("the gateway and Postgres killed under a person of the simulator's, whose network is bad as well: all is there, once", async () => {
  const [gateway] = system.gateways;
  await using ground = await openGround();
  const rage = async (load: Load): Promise<void> => {
    await load(2);
    await gateway.stop("SIGKILL");
    await gateway.start();
    await load(2);
    await killPostgres(postgres, "SIGKILL");
    await load(2);
  };
  const [report] = await liveThrough(ground, { seeds: [1], steps: 30, rage });
  const { changes = 0, settled = 0, faults } = report ?? {};
  expect(Math.min(changes, settled, faults?.LOSE_ANSWER ?? 0, faults?.LOSE_REQUEST ?? 0)).toBeGreaterThan(0);
});

/** People who sign up and whose devices sign in as clients do, with the simulator's namespace published. */
async function openGround(): Promise<Ground & AsyncDisposable> {
  await using opening = new AsyncDisposableStack();
  const sql = opening.adopt(new Pool({ connectionString: postgres.adminUrl, max: 1 }), (pool) => pool.end());
  sql.on("error", () => undefined);
  const directory = opening.adopt(await mkdtemp(join(tmpdir(), "continuo-life-")), (made) =>
    rm(made, { recursive: true }),
  );
  const definition = join(directory, "life.json");
  await writeFile(definition, JSON.stringify(DEFINITION));
  const publish = ["namespaces", "publish", definition];
  await runToEnd("services/user-state/src/operator-main.ts", system.environments.userState, publish);
  const gateway = system.urls[0];
  const opened = opening.move();
  return {
    async connect(network) {
      const person = await signUp(gateway);
      const devices = new Map<string, Device>();
      const wire = await connectTo([gateway], network, async (id) => ({
        authorization: `Bearer ${devices.get(id)?.accessToken}`,
      }));
      return {
        ...wire,
        async enrol() {
          const device = createDevice({ gateway, name: "Device", platform: "OTHER" });
          await device.signIn(person);
          devices.set(device.id, device);
          return device.id;
        },
        async stood() {
          const [device] = devices.values();
          return stoodOf(sql, (await device?.ask(ME))?.me?.id ?? "");
        },
      };
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

interface Work {
  /** path → value of every acknowledged change. */
  readonly acknowledged: ReadonlyMap<string, string>;
  stop(): Promise<void>;
}

/** Changes state and refreshes without a pause; whatever fails is sent again unchanged. */
function work(device: Device): Work {
  const acknowledged = new Map<string, string>();
  const stopping = new AbortController();
  const { signal } = stopping;
  const running = (async () => {
    while (!signal.aborted) {
      const path = `notes/${randomUUID()}/body`;
      device.change(path, path);
      await insist(async () => {
        await device.push();
        acknowledged.set(path, path);
      }, signal);
      await insist(() => device.refresh(), signal);
    }
  })();
  return {
    acknowledged,
    stop: () => {
      stopping.abort();
      return running;
    },
  };
}

/** Tries again until it succeeds. */
async function insist(work: () => Promise<unknown>, signal?: AbortSignal): Promise<void> {
  for (;;) {
    if (signal?.aborted === true) return;
    try {
      await work();
      return;
    } catch {
      await delay(20);
    }
  }
}
