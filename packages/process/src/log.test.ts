import { spawnSync } from "node:child_process";
import { existsSync, openSync } from "node:fs";
import { expect, test } from "vitest";

function log(statement: string): Record<string, unknown> {
  const script = `
    import { createLogger } from ${JSON.stringify(new URL("index.ts", import.meta.url).href)};
    const logger = createLogger({ name: "sample", level: "info" });
    ${statement}`;
  const { stdout } = spawnSync(process.execPath, ["--input-type=module-typescript", "--eval", script], {
    encoding: "utf8",
  });
  return JSON.parse(stdout);
}

test("a log line says which process wrote it and when", () => {
  expect(log(`logger.child({ requestId: "r1" }).info({ ms: 3 }, "request")`)).toMatchObject({
    name: "sample",
    pid: expect.any(Number),
    time: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
    requestId: "r1",
    ms: 3,
    msg: "request",
  });
});

test("what may hold a token or a password is not written, down to the third level", () => {
  const line = log(`logger.info({
    password: "hunter2",
    headers: { authorization: "Bearer hunter2", cookie: "hunter2", dpop: "hunter2" },
    init: { payload: { ticket: "hunter2", token: "hunter2" } },
    form: { assertion: "hunter2", secret: "hunter2" },
    input: { variables: { refreshToken: "hunter2", grant: "hunter2", email: "ada@example.com" } },
  })`);
  expect(JSON.stringify(line)).not.toContain("hunter2");
  expect(line).toMatchObject({ input: { variables: { email: "ada@example.com" } } });
});

test.each([
  [
    "of an error",
    `logger.error({ err: Object.assign(new Error("no"), { password: "hunter2", request: { token: "hunter2" } }) })`,
  ],
  ["of a list", `logger.info({ sent: [{ token: "hunter2" }] })`],
  ["of what says itself how it is written", `logger.info({ sent: { toJSON: () => ({ token: "hunter2" }) } })`],
  ["that a logger carries", `logger.child({ request: { headers: { cookie: "hunter2" } } }).info("request")`],
  ["that its child carries", `logger.child({ a: 1 }).child({ token: "hunter2" }).info("request")`],
])("nor is a secret %s", (_whose, statement) => {
  const text = JSON.stringify(log(statement));
  expect(text).toContain("[redacted]");
  expect(text).not.toContain("hunter2");
});

test("what is logged stays as it was for whoever has it", () => {
  expect(
    log(`const sent = { token: "mine" }; logger.info({ sent }); process.exitCode = sent.token === "mine" ? 0 : 1;
    if (process.exitCode) throw new Error("changed")`),
  ).toMatchObject({ sent: { token: "[redacted]" } });
});

test.skipIf(!existsSync("/dev/full"))("a log that cannot be written stops nobody", () => {
  const script = `
    import { createLogger } from ${JSON.stringify(new URL("index.ts", import.meta.url).href)};
    const logger = createLogger({ name: "sample", level: "info" });
    for (let line = 0; line < 100; line++) logger.info({ padding: "x".repeat(20_000) }, "request");
    process.stderr.write("served");`;
  const { status, stderr } = spawnSync(process.execPath, ["--input-type=module-typescript", "--eval", script], {
    encoding: "utf8",
    stdio: ["ignore", openSync("/dev/full", "w"), "pipe"],
  });
  expect({ status, stderr }).toEqual({ status: 0, stderr: "served" });
});
