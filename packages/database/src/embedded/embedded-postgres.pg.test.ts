import { createLogger, SetupError } from "@continuo/process";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Client } from "pg";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { z } from "zod";
import { startEmbeddedPostgres, type EmbeddedPostgres, type EmbeddedPostgresOptions } from "./embedded-postgres.ts";
import { disownPid, stopPostmaster } from "./postmaster.ts";
import { isRunning, programOf } from "./process-table.ts";

const log = createLogger({ name: "test", level: "silent" });

// As root, mkdtemp makes this unreadable for the account that runs Postgres, so every test also shows that this does
// not matter.
const directory = await mkdtemp(join(tmpdir(), "continuo-embedded-"));
const home = join(directory, "postgres");
const start = (options: Partial<EmbeddedPostgresOptions> = {}): Promise<EmbeddedPostgres> =>
  startEmbeddedPostgres({ dataDirectory: home, tuning: "durable", log, ...options });

afterAll(() => rm(directory, { recursive: true, force: true }));

async function query(url: string, sql: string): Promise<unknown[]> {
  const client = new Client({ connectionString: url });
  client.on("error", () => undefined);
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows.map((row) => Object.values(row)[0]);
  } finally {
    await client.end().catch(() => undefined);
  }
}

const notes = (url: string): Promise<unknown[]> => query(url, "SELECT text FROM notes ORDER BY text");
const refusal = (starting: Promise<EmbeddedPostgres>): Promise<unknown> =>
  starting.then(
    async (server) => {
      await server[Symbol.asyncDispose]();
      return "started";
    },
    (cause: unknown) => (cause instanceof SetupError ? cause.code : cause),
  );

beforeAll(async () => {
  await using server = await start();
  await query(server.adminUrl, "CREATE TABLE notes (text text)");
  await query(server.adminUrl, "INSERT INTO notes VALUES ('first')");
});

describe("an embedded Postgres", () => {
  it("keeps its data, its port and its password from start to start", async () => {
    let url: string;
    {
      await using first = await start();
      url = first.adminUrl;
    }
    await using second = await start();
    expect(second.adminUrl).toBe(url);
    expect(await notes(url)).toEqual(["first"]);
  });

  it("is gone, and answers nobody, when it has been closed", async () => {
    const server = await start();
    await server[Symbol.asyncDispose]();
    expect(programOf(server.pid)).toBeUndefined();
    await expect(notes(server.adminUrl)).rejects.toThrow("ECONNREFUSED");
  });

  it("keeps its password from other users, and lets nobody in without it", async () => {
    await using server = await start();
    const { mode } = await stat(join(home, "server.json"));
    expect(mode & 0o777).toBe(0o600);
    const stranger = new URL(server.adminUrl);
    stranger.password = "guess";
    await expect(notes(stranger.href)).rejects.toThrow("password authentication failed");
  });

  it("listens on the loopback interface alone, with no socket file", async () => {
    await using server = await start();
    expect(
      await query(
        server.adminUrl,
        "SELECT current_setting('listen_addresses') || current_setting('unix_socket_directories')",
      ),
    ).toEqual(["127.0.0.1"]);
  });

  it("comes back by itself on the same port, nothing acknowledged lost, when its postmaster is killed", async () => {
    await using server = await start();
    const { pid } = server;
    await query(server.adminUrl, "INSERT INTO notes VALUES ('before the kill')");
    process.kill(pid, "SIGKILL");
    await vi.waitFor(async () => expect(await notes(server.adminUrl)).toContain("before the kill"), {
      timeout: 60_000,
    });
    expect(server.pid).not.toBe(pid);
  });

  it("is looked after again, under the same postmaster, when one of its own processes is killed", async () => {
    await using server = await start();
    const { pid } = server;
    const supervisors = (): Promise<unknown[]> =>
      query(server.adminUrl, "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'continuo-supervisor-%'");
    const [killed] = await supervisors();
    process.kill(Number(killed), "SIGKILL");
    await vi.waitFor(async () => expect((await supervisors()).filter((each) => each !== killed)).toHaveLength(1), {
      timeout: 60_000,
    });
    expect(server.pid).toBe(pid);
  });

  it.each(["before", "when"])("closes for good %s it is being brought back", async (moment) => {
    const begun = Promise.withResolvers<void>();
    const hearing = Object.assign(createLogger({ name: "test", level: "silent" }), { error: () => begun.resolve() });
    const server = await start({ log: hearing });
    process.kill(server.pid, "SIGKILL");
    if (moment === "when") await begun.promise;
    await server[Symbol.asyncDispose]();
    await expect(notes(server.adminUrl)).rejects.toThrow("ECONNREFUSED");
    expect(await refusal(start())).toBe("started");
  });

  it("recovers on the next start when the process that ran it is killed", async () => {
    const keeper = await startInAnotherProcess();
    await query(keeper.adminUrl, "INSERT INTO notes VALUES ('before the keeper died')");
    keeper.child.kill("SIGKILL");
    await once(keeper.child, "exit");
    await using server = await start();
    expect(server.pid).not.toBe(keeper.pid);
    expect(await notes(server.adminUrl)).toContain("before the keeper died");
  });

  it("stops by itself when the process that ran it is killed and nobody starts it again", async () => {
    const keeper = await startInAnotherProcess();
    keeper.child.kill("SIGKILL");
    await vi.waitFor(() => expect(isRunning(keeper.pid)).toBe(false), { timeout: 60_000 });
  });

  it("is not started twice on the same data", async () => {
    await using server = await start();
    expect(await refusal(start())).toBe("E_PG_IN_USE");
    expect(await notes(server.adminUrl)).toContain("first");
  });

  it("says so when the port it is told to use is taken", async () => {
    await using squatter = await squat(0);
    expect(await refusal(start({ port: squatter.port }))).toBe("E_PG_PORT_BUSY");
  });

  it("moves to another port when somebody has taken the one it had", async () => {
    const { port } = z
      .object({ port: z.number() })
      .parse(JSON.parse(await readFile(join(home, "server.json"), "utf8")));
    await using squatter = await squat(port);
    await using server = await start();
    expect(server.port).not.toBe(squatter.port);
    expect(await notes(server.adminUrl)).toContain("first");
  });

  it("leaves a pid file alone that its server has just taken away", async () => {
    const cluster = { directory: join(home, "cluster") };
    await expect(stat(join(cluster.directory, "postmaster.pid"))).rejects.toMatchObject({ code: "ENOENT" });
    await expect(disownPid(cluster)).resolves.toBeUndefined();
  });

  it("starts although the number in its pid file now belongs to another program", async () => {
    await writeFile(
      join(home, "cluster/postmaster.pid"),
      `${process.pid}\n${join(home, "cluster")}\n1\n5432\n\n127.0.0.1\n\nready\n`,
    );
    await using server = await start();
    expect(await notes(server.adminUrl)).toContain("first");
  });

  it("leaves the original alone when started on a copy of running data", async () => {
    await using original = await start();
    await query(original.adminUrl, "CHECKPOINT");
    const copy = join(directory, "copy");
    await cp(home, copy, { recursive: true });
    await using second = await start({ dataDirectory: copy });
    await query(second.adminUrl, "INSERT INTO notes VALUES ('copy only')");
    expect(second.port).not.toBe(original.port);
    expect(await notes(original.adminUrl)).not.toContain("copy only");
  });

  it("puts a half-made data directory aside and makes a new one", async () => {
    const broken = join(directory, "broken");
    await mkdir(join(broken, "cluster/base"), { recursive: true });
    // Left behind by a start that died. No process has this number.
    await mkdir(join(broken, "cluster.new-2147483647"));
    await using server = await start({ dataDirectory: broken });
    expect(await query(server.adminUrl, "SELECT 1")).toEqual([1]);
    expect((await readdir(broken)).toSorted()).toEqual([
      "cluster",
      expect.stringMatching(/^cluster\.broken-/),
      "postgres.log",
      "server.json",
    ]);
    expect((await stat(join(broken, "server.json"))).mode & 0o777).toBe(0o600);
  });

  it("does not touch data of another major version", async () => {
    const old = join(directory, "old");
    await mkdir(join(old, "cluster"), { recursive: true });
    await writeFile(join(old, "cluster/PG_VERSION"), "17\n");
    expect(await refusal(start({ dataDirectory: old }))).toBe("E_PG_DATA_VERSION");
    expect(await readdir(join(old, "cluster"))).toEqual(["PG_VERSION"]);
  });

  it("sends no signal to another program that has come by the number of its postmaster", async () => {
    const kill = vi.spyOn(process, "kill").mockReturnValue(true);
    await stopPostmaster(process.pid);
    expect(kill).not.toHaveBeenCalled();
    kill.mockRestore();
  });

  it("leaves nothing behind when it is a throwaway", async () => {
    const scratch = join(directory, "scratch");
    await (await startEmbeddedPostgres({ dataDirectory: scratch, tuning: "throwaway", log }))[Symbol.asyncDispose]();
    await expect(stat(scratch)).rejects.toThrow("ENOENT");
  });
});

async function startInAnotherProcess(): Promise<{ child: ReturnType<typeof spawn>; adminUrl: string; pid: number }> {
  const module = fileURLToPath(new URL("embedded-postgres.ts", import.meta.url));
  const program = `
    import { startEmbeddedPostgres } from ${JSON.stringify(module)};
    const log = { info() {}, warn() {}, error() {} };
    const { adminUrl, pid } = await startEmbeddedPostgres({ dataDirectory: ${JSON.stringify(home)}, tuning: "durable", log });
    console.log(JSON.stringify({ adminUrl, pid }));
  `;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", program], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = await once(child.stdout, "data");
  return { child, ...z.object({ adminUrl: z.string(), pid: z.number() }).parse(JSON.parse(String(line))) };
}

async function squat(port: number): Promise<AsyncDisposable & { port: number }> {
  const server = createServer();
  await once(server.listen(port, "127.0.0.1"), "listening");
  const address = server.address();
  if (typeof address !== "object" || !address) throw new Error("no address");
  return { port: address.port, [Symbol.asyncDispose]: async () => void (await once(server.close(), "close")) };
}
