/** Uses real processes, since signals cannot be sent to the test's own. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { describe, expect, test } from "vitest";

const PREAMBLE = `
  import { createLogger, runProcess, SetupError } from ${JSON.stringify(new URL("index.ts", import.meta.url).href)};
  const logger = createLogger({ name: "sample", level: "info" });
  const say = (text) => process.stdout.write(text + "\\n");
  const keepAlive = setInterval(() => {}, 1_000);
`;

/** Runs `script`, sends each signal once its cue has been printed, and returns the outcome. */
async function run(
  script: string,
  ...signals: { after: string; send: NodeJS.Signals }[]
): Promise<{ code: unknown; out: string }> {
  const child = spawn(process.execPath, ["--input-type=module-typescript", "--eval", PREAMBLE + script], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let out = "";
  const pending = [...signals];
  const read = (chunk: Buffer): void => {
    out += chunk.toString("utf8");
    while (pending[0] && out.includes(pending[0].after)) child.kill(pending.shift()?.send);
  };
  child.stdout.on("data", read);
  child.stderr.on("data", read);
  const [code] = await once(child, "close");
  return { code, out };
}

describe("a process", () => {
  test.each<NodeJS.Signals>(["SIGTERM", "SIGINT", "SIGHUP"])(
    "closes what it opened on %s, and exits with 0",
    async (send) => {
      const { code, out } = await run(
        `await runProcess(async () => {
        say("started");
        return { async [Symbol.asyncDispose]() { await Promise.resolve(); say("closed"); } };
      }, { logger });`,
        { after: "started", send },
      );
      expect({ code, closed: out.includes("closed") }).toEqual({ code: 0, closed: true });
    },
  );

  test("told to stop while it starts, starts and then stops", async () => {
    const { code, out } = await run(
      `await runProcess(async () => {
        say("starting");
        await new Promise((resolve) => process.once("SIGTERM", resolve));
        return { async [Symbol.asyncDispose]() { say("closed"); } };
      }, { logger });`,
      { after: "starting", send: "SIGTERM" },
    );
    expect({ code, closed: out.includes("closed") }).toEqual({ code: 0, closed: true });
  });

  test.each([
    ["start", `async () => { say("started"); await new Promise(() => {}); }`],
    ["close", `async () => { say("started"); return { [Symbol.asyncDispose]: () => new Promise(() => {}) }; }`],
  ])("that hangs in its %s exits with 1 when its time is up", async (_step, start) => {
    const { code, out } = await run(`await runProcess(${start}, { logger, stopTimeoutMs: 50 });`, {
      after: "started",
      send: "SIGTERM",
    });
    expect(code).toBe(1);
    expect(out).toContain("stopping took too long");
  });

  test("told twice to stop exits at once with 1", async () => {
    const { code } = await run(
      `await runProcess(async () => {
        say("started");
        return { [Symbol.asyncDispose]: () => { say("closing"); return new Promise(() => {}); } };
      }, { logger });`,
      { after: "started", send: "SIGINT" },
      { after: "closing", send: "SIGINT" },
    );
    expect(code).toBe(1);
  });

  test("that cannot start says why and exits with 1", async () => {
    const { code, out } = await run(
      `await runProcess(async () => { throw new Error("no such database"); }, { logger });`,
    );
    expect(code).toBe(1);
    expect(out).toContain("no such database");
  });

  test("that cannot start for a reason that can be mended says code, sentence and fix in one line, and no stack", async () => {
    const { code, out } = await run(
      `await runProcess(async () => { throw new SetupError("E_SAMPLE", "It is so.", "Do that."); }, { logger });`,
    );
    expect(code).toBe(1);
    expect(JSON.parse(out)).toMatchObject({ code: "E_SAMPLE", fix: "Do that.", msg: "E_SAMPLE  It is so." });
    expect(out).not.toContain("    at ");
  });

  test.each([
    ["rejection", `void Promise.reject(new Error("nobody looks"));`],
    ["exception", `setImmediate(() => { throw new Error("nobody looks"); });`],
  ])("with a stray %s logs it in one line and exits with 1", async (_kind, stray) => {
    const { code, out } = await run(
      `await runProcess(async () => { ${stray} return { async [Symbol.asyncDispose]() {} }; }, { logger });`,
    );
    expect(code).toBe(1);
    const [line] = out.trim().split("\n").slice(-1);
    expect(JSON.parse(line ?? "")).toMatchObject({ name: "sample", err: { message: "nobody looks" } });
  });

  test("ends when told to, also after whoever read its logs has gone", async () => {
    const script = `await runProcess(async () => {
      process.stderr.write("started");
      return { async [Symbol.asyncDispose]() {} };
    }, { logger });`;
    const child = spawn(process.execPath, ["--input-type=module-typescript", "--eval", PREAMBLE + script], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    const exit = once(child, "exit");
    await once(child.stderr, "data");
    child.stdout.destroy();
    await once(child.stdout, "close");
    child.kill("SIGTERM");

    expect(await exit).toEqual([0, null]);
  });
});
