/** A migrated database for one test file: real Postgres, real roles, dropped at the end. */
import { ROLES, roleUrl, type RoleOwner, type RolePasswords } from "@continuo/database";
import { randomBytes } from "node:crypto";
import { Client } from "pg";
import { inject } from "vitest";

/** Roles belong to the server, not to a database, so every run gives them the same passwords. */
export const testRolePasswords: RolePasswords = {
  identity: "test-identity",
  session: "test-session",
  userState: "test-user-state",
  gateway: "test-gateway",
};

export interface TestDatabase extends AsyncDisposable {
  /** Superuser: for arranging and inspecting, not for the code under test. */
  readonly adminUrl: string;
  /** The DATABASE_URL of each process. */
  readonly url: Readonly<Record<RoleOwner, string>>;
}

/**
 * Copies the run's template: `await using database = await createTestDatabase()`. Closing drops the copy: all its users
 * must have disconnected.
 */
export async function createTestDatabase(): Promise<TestDatabase> {
  const { adminUrl: serverUrl, template } = inject("postgres");
  const name = `continuo_test_${randomBytes(6).toString("hex")}`;
  await asAdmin(serverUrl, `CREATE DATABASE ${name} TEMPLATE ${template}`);
  const adminUrl = withDatabase(serverUrl, name);
  const url = (owner: RoleOwner): string => roleUrl(adminUrl, ROLES[owner], testRolePasswords[owner]);
  return {
    adminUrl,
    url: { identity: url("identity"), session: url("session"), userState: url("userState"), gateway: url("gateway") },
    // Not WITH (FORCE): Postgres waits for connections of ended pools that are still closing. Cutting them would fail
    // the finished test file.
    [Symbol.asyncDispose]: () => asAdmin(serverUrl, `DROP DATABASE ${name}`),
  };
}

/** The same server and user, with another database. */
export function withDatabase(url: string, name: string): string {
  const changed = new URL(url);
  changed.pathname = `/${name}`;
  return changed.href;
}

async function asAdmin(url: string, sql: string): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}
