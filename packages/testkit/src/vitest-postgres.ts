/**
 * Once per test run: a Postgres server (`TEST_DATABASE_URL`, or a throwaway one of our own) with a migrated template database.
 * Tests take copies of it with `createTestDatabase`.
 */
import { migrate, startEmbeddedPostgres } from "@continuo/database";
import { createLogger } from "@continuo/process";
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "pg";
import type { TestProject } from "vitest/node";
import { testRolePasswords, withDatabase } from "./database.ts";
import { needsServers } from "./needs-servers.ts";

declare module "vitest" {
  export interface ProvidedContext {
    postgres: { adminUrl: string; template: string };
  }
}

/** vitest's globalSetup: provides `postgres`, and returns the teardown. */
export default async function setup(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  if (!needsServers(project)) return undefined;
  await using stack = new AsyncDisposableStack();
  const log = createLogger({ name: "testkit", level: "warn" });
  const adminUrl = process.env["TEST_DATABASE_URL"] || (await startThrowaway(stack, log));

  const template = `continuo_template_${randomBytes(4).toString("hex")}`;
  const admin = new Client({ connectionString: adminUrl });
  await admin.connect();
  stack.defer(() => admin.end());
  await admin.query(`CREATE DATABASE ${template}`);
  stack.defer(async () => void (await admin.query(`DROP DATABASE ${template} WITH (FORCE)`)));
  await migrate({ adminUrl: withDatabase(adminUrl, template), rolePasswords: testRolePasswords, log });

  project.provide("postgres", { adminUrl, template });
  const opened = stack.move();
  return () => opened.disposeAsync();
}

async function startThrowaway(stack: AsyncDisposableStack, log: ReturnType<typeof createLogger>): Promise<string> {
  const dataDirectory = await mkdtemp(join(tmpdir(), "continuo-test-"));
  stack.defer(() => rm(dataDirectory, { recursive: true, force: true }));
  return stack.use(await startEmbeddedPostgres({ dataDirectory, tuning: "throwaway", log })).adminUrl;
}
