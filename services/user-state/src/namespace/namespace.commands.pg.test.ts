import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { text } from "node:stream/consumers";
import { counter, defineNamespace, register } from "@continuo/namespace";
import { createTestDatabase, type TestDatabase } from "@continuo/testkit";
import { afterAll, beforeAll, expect, it } from "vitest";
import { z } from "zod";
import { runOperator } from "../operator-app.ts";

let database: TestDatabase;
let folder: string;
beforeAll(async () => {
  database = await createTestDatabase();
  folder = await mkdtemp(join(tmpdir(), "continuo-namespaces-"));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
  await database[Symbol.asyncDispose]();
});

async function namespaces(...argv: string[]): Promise<{ code: number; out: string; said: string }> {
  const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()];
  const source = async () => ({ DATABASE_URL: database.url.userState, LOG_LEVEL: "silent" });
  const code = await runOperator(["namespaces", ...argv], { source, streams: { stdin, stdout, stderr } });
  stdout.end();
  stderr.end();
  const [out, said] = await Promise.all([text(stdout), text(stderr)]);
  return { code, out, said };
}

async function fileOf(content: unknown): Promise<string> {
  const file = join(folder, "definition.json");
  await writeFile(file, JSON.stringify(content));
  return file;
}

const define = (version: number, ...choice: string[]) =>
  defineNamespace({ name: "look", version, fields: { theme: register(z.enum(choice)), visits: counter() } });

it("an operator tries a definition, publishes it, and is told why another one is refused", async () => {
  const first = await fileOf(define(1, "light", "dark"));
  expect(await namespaces("publish", first, "--dry-run")).toEqual({
    code: 0,
    out: "look 1.1  WOULD BE PUBLISHED\n",
    said: "",
  });
  expect((await namespaces("list")).out).toBe("\n");
  expect(await namespaces("publish", first)).toMatchObject({ code: 0, out: "look 1.1  PUBLISHED\n" });
  expect(await namespaces("publish", await fileOf(define(1, "dark")))).toMatchObject({
    code: 1,
    out: 'look 1.2  REFUSED\n  BREAKING    theme no longer takes "light"\n',
  });
  const { code, out } = await namespaces("publish", await fileOf([define(1, "light", "dark")]), "--json");
  expect([code, JSON.parse(out)]).toEqual([
    0,
    [{ name: "look", version: 1, revision: 1, result: "UNCHANGED", changes: [] }],
  ]);
  expect((await namespaces("list")).out).toBe("look 1.1  DURABLE  theme visits\n");
});

it("what is no definition, no file and no command is told apart from what failed", async () => {
  const nameless = await namespaces("publish", await fileOf({ ...define(1, "a"), name: "Look" }));
  expect(nameless).toMatchObject({ code: 2, out: "", said: expect.stringContaining("E_USAGE  name: expected a name") });
  expect(await namespaces("publish", join(folder, "none.json"), "--json")).toMatchObject({
    code: 2,
    said: expect.stringContaining('{"error":{"code":"E_USAGE","message":"The definitions cannot be read'),
  });
  expect((await namespaces("unpublish")).code).toBe(2);
  expect(await namespaces("publish", "--help")).toMatchObject({ code: 0, out: expect.stringContaining("--dry-run") });
});
