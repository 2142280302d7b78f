import { createTestDatabase } from "@continuo/testkit";
import { Client } from "pg";
import { afterAll, describe, expect, it } from "vitest";
import type { RoleOwner } from "./roles.ts";

const database = await createTestDatabase();
afterAll(() => database[Symbol.asyncDispose]());

/** What happens when the role of `owner` runs `sql`: the number of rows, or the refusal. */
async function outcome(owner: RoleOwner, sql: string): Promise<string> {
  const client = new Client({ connectionString: database.url[owner] });
  await client.connect();
  try {
    await client.query(sql);
    return "allowed";
  } catch (cause) {
    return cause instanceof Error ? cause.message : String(cause);
  } finally {
    await client.end();
  }
}

describe("a role", () => {
  const tables = { identity: "identity.users", session: "session.devices", userState: "user_state.state_entries" };

  it.each(["identity", "session", "userState"] as const)(
    "of %s reaches the tables of its own schema and no others",
    async (owner) => {
      for (const [other, table] of Object.entries(tables)) {
        const expected = other === owner ? "allowed" : `permission denied for schema ${table.split(".")[0]}`;
        expect(await outcome(owner, `SELECT * FROM ${table}`)).toBe(expected);
        expect(await outcome(owner, `DELETE FROM ${table}`)).toBe(expected);
      }
    },
  );

  it.each(["identity", "session", "userState"] as const)("of %s may use the queues", async (owner) => {
    expect(await outcome(owner, "SELECT * FROM jobs.job")).toBe("allowed");
  });

  it.each(["identity", "session", "userState"] as const)(
    "of %s reads the ledger and cannot change it",
    async (owner) => {
      expect(await outcome(owner, "SELECT * FROM public._prisma_migrations")).toBe("allowed");
      expect(await outcome(owner, "DELETE FROM public._prisma_migrations")).toBe(
        "permission denied for table _prisma_migrations",
      );
    },
  );

  it.each(Object.entries(tables))(
    "of %s cannot change its own tables' shape, or make new ones",
    async (owner, table) => {
      if (owner !== "identity" && owner !== "session" && owner !== "userState") throw new Error(owner);
      expect(await outcome(owner, `ALTER TABLE ${table} ADD COLUMN x int`)).toContain("must be owner of table");
      expect(await outcome(owner, `TRUNCATE ${table}`)).toContain("permission denied");
      expect(await outcome(owner, `CREATE TABLE ${table}_2 ()`)).toContain("permission denied for schema");
      expect(await outcome(owner, "CREATE TABLE public.x ()")).toContain("permission denied for schema public");
    },
  );

  it("of the gateway listens, and reads nothing", async () => {
    expect(await outcome("gateway", "LISTEN revocations")).toBe("allowed");
    for (const table of [...Object.values(tables), "jobs.job", "public._prisma_migrations"]) {
      expect(await outcome("gateway", `SELECT * FROM ${table}`)).toContain("permission denied for schema");
    }
  });
});
