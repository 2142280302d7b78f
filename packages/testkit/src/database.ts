/** A migrated database of one's own for a test file: real Postgres, real roles, dropped at the end. */
import { ROLES, roleUrl, type RoleOwner, type RolePasswords } from "@continuo/database";
import { randomBytes } from "node:crypto";
import { Client } from "pg";
import { inject } from "vitest";

/** The roles are the server's, not a database's, so every run gives them the same passwords. */
export const testRolePasswords: RolePasswords = {
  identity: "test-identity",
  session: "test-session",
  userState: "test-user-state",
  gateway: "test-gateway",
};

export interface TestDatabase extends AsyncDisposable {
  /** Superuser: for arranging and looking, not for the code under test. */
  readonly adminUrl: string;
  /** What each process would have as its DATABASE_URL. */
  readonly url: Readonly<Record<RoleOwner, string>>;
}

/**
 * Copies the run's template: `await using database = await createTestDatabase()`. Closing drops it: whoever is connected must
 * have left.
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
    // Not by force: Postgres waits for pools that have ended and whose connections are yet to close. Cut, they would fail the
    // file that is over.
    [Symbol.asyncDispose]: () => asAdmin(serverUrl, `DROP DATABASE ${name}`),
  };
}

/** The same server and user, another database. */
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
