import { chmod, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { loadSecrets } from "./secrets.ts";

const directory = await mkdtemp(join(tmpdir(), "continuo-secrets-"));
afterAll(() => rm(directory, { recursive: true }));

it("secrets are made once and kept, for their owner's eyes alone", async () => {
  const file = join(directory, "data/secrets.json");
  const made = await loadSecrets(file);
  await chmod(file, 0o644);
  expect(await loadSecrets(file)).toEqual(made);
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  expect(new Set(Object.values(made.databasePasswords)).size).toBe(4);
});

it("secrets that cannot be read are not made anew: what they opened would be lost", async () => {
  const file = join(directory, "broken.json");
  await writeFile(file, "{}");
  await expect(loadSecrets(file)).rejects.toMatchObject({ code: "E_SECRETS_UNREADABLE" });
  expect(await readFile(file, "utf8")).toBe("{}");
});
