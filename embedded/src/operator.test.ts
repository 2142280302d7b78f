import { roleUrl, ROLES } from "@continuo/database";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { operatorEnvironment } from "./operator.ts";
import { loadSecrets } from "./secrets.ts";

const directory = await mkdtemp(join(tmpdir(), "continuo-operator-"));
afterAll(() => rm(directory, { recursive: true }));

describe("the environment of an operator's command", () => {
  const administrator = "postgresql://postgres:x@db:5432/continuo";
  const source = { DATABASE_URL: administrator, DATA_DIRECTORY: directory };

  it("is the process's own where that names a role of ours", async () => {
    for (const role of Object.values(ROLES)) {
      const own = { ...source, DATABASE_URL: `postgresql://${role}:x@db/continuo` };
      expect(await operatorEnvironment(own)).toBe(own);
    }
  });

  it("is made from the secrets of what runs on the folder, and there is none where nothing does", async () => {
    const nothing = { code: "E_NOT_RUNNING" };
    await expect(operatorEnvironment(source)).rejects.toMatchObject(nothing);
    // New secrets would not match any database.
    expect(await readdir(directory)).toEqual([]);

    const { databasePasswords, masterKey } = await loadSecrets(join(directory, "secrets.json"));
    for (const room of ["identity", "session", "userState"] as const)
      expect(await operatorEnvironment(source, room)).toMatchObject({
        DATABASE_URL: roleUrl(administrator, ROLES[room], databasePasswords[room]),
      });
    expect(await operatorEnvironment(source)).toMatchObject({ MASTER_KEY: masterKey });
    await expect(operatorEnvironment({ DATA_DIRECTORY: directory })).rejects.toMatchObject(nothing);
  });
});
