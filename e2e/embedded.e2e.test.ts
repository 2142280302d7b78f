import { startEmbeddedPostgres } from "@continuo/database";
import { createLogger } from "@continuo/process";
import { mkdtemp, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createDevice, signUp } from "./device.ts";
import { startProcess, type RunningProcess } from "./process.ts";
import { tellStory } from "./story.ts";

/** One start after another on the same data, as people do: only the first has to create it. */
let dataDirectory: string;
beforeAll(async () => {
  dataDirectory = await mkdtemp(join(tmpdir(), "continuo-start-"));
});
afterAll(() => rm(dataDirectory, { recursive: true, force: true }));

interface Start extends RunningProcess {
  readonly url: string;
}

function begin(port = 0, directory = dataDirectory): Promise<RunningProcess> {
  const env = { PORT: String(port), DATA_DIRECTORY: directory, HOME: process.env["HOME"] ?? "" };
  return startProcess({ name: "npm start", file: "embedded/src/main.ts", env });
}

async function npmStart(): Promise<Start> {
  const started = await begin();
  try {
    await started.says(/Continuo is ready in/);
  } catch (cause) {
    await started.stop("SIGKILL");
    throw cause;
  }
  const url = /GraphQL +(\S+)\/graphql/.exec(started.log())?.[1];
  if (url === undefined) throw new Error(`no URL was printed:\n${started.log()}`);
  return Object.assign(started, { url });
}

test("npm start: the story holds, a stop is clean with the database last, a start after kill -9 recovers with all data", async () => {
  await using stack = new AsyncDisposableStack();
  const first = stack.use(await npmStart());
  expect((await stat(join(dataDirectory, "secrets.json"))).mode & 0o777).toBe(0o600);
  await tellStory({ gateways: [first.url], narrate: () => undefined });
  const person = await signUp(first.url);
  const phone = createDevice({ gateway: first.url, name: "Phone", platform: "PHONE" });
  await phone.signIn(person);
  await phone.pull();
  phone.change("notes/kept/body", "still here");
  await phone.push();

  await first.stop("SIGKILL");
  // As a start that died while writing would leave it.
  await writeFile(join(dataDirectory, "self-check-device"), "");
  const second = stack.use(await npmStart());
  const laptop = createDevice({ gateway: second.url, name: "Laptop", platform: "LAPTOP" });
  await laptop.signIn(person);
  await laptop.pull();
  expect(laptop.state.get("notes/kept/body")).toBe("still here");

  expect(await second.stop("SIGINT")).toEqual({ code: 0, signal: null });
  const stops = [...second.log().matchAll(/stopping (\S+)/g)].map(([, name]) => name);
  expect(stops[0]).toBe("gateway");
  expect(stops.at(-1)).toBe("postgres");
  await expect(stat(join(dataDirectory, "postgres/cluster/postmaster.pid"))).rejects.toThrow("ENOENT");
  const log = await readFile(join(dataDirectory, "logs/continuo.log"), "utf8");
  expect(log).not.toContain(person.password);
  expect(log).not.toContain(laptop.refreshToken);
});

test("a start waits for one that is still stopping on the same data, and leaves a log that has grown large behind", async () => {
  await using stack = new AsyncDisposableStack();
  const logFile = join(dataDirectory, "logs/continuo.log");
  await truncate(logFile, 65 * 1024 * 1024);
  const log = createLogger({ name: "earlier", level: "silent" });
  const earlier = await startEmbeddedPostgres({
    dataDirectory: join(dataDirectory, "postgres"),
    tuning: "durable",
    log,
  });
  const started = stack.use(await begin());

  await started.says(/waiting for it to stop/);
  await earlier[Symbol.asyncDispose]();
  await started.says(/Continuo is ready in/);
  expect((await stat(logFile)).size).toBeLessThan(1024 * 1024);
  expect((await stat(`${logFile}.1`)).size).toBe(65 * 1024 * 1024);

  expect(await started.stop("SIGTERM")).toEqual({ code: 0, signal: null });
});

test("a busy port is told in a sentence with its code, and nothing is left running", async () => {
  await using stack = new AsyncDisposableStack();
  const { createServer } = await import("node:net");
  const squatter = createServer();
  const port = await new Promise<number>((resolve) => {
    squatter.listen(0, "127.0.0.1", () => {
      const address = squatter.address();
      resolve(typeof address === "object" && address !== null ? address.port : 0);
    });
  });
  stack.defer(() => void squatter.close());

  const started = stack.use(await begin(port));

  expect(await started.ended()).toEqual({ code: 1, signal: null });
  expect(started.log()).toContain(`E_PORT_BUSY  Port ${port} is busy`);
  expect(started.log()).not.toMatch(/\n\s+at /);
  await expect(stat(join(dataDirectory, "postgres/cluster/postmaster.pid"))).rejects.toThrow("ENOENT");
});

test("a data directory that can be none is told in a sentence with its code", async () => {
  await using started = await begin(0, join(import.meta.filename, "data"));
  expect(await started.ended()).toEqual({ code: 1, signal: null });
  expect(started.log()).toContain("E_FOLDER_READ_ONLY  The data directory");
  expect(started.log()).not.toMatch(/\n\s+at /);
});
