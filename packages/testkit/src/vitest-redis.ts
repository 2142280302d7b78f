/** vitest globalSetup: provides `redisUrl` from TEST_REDIS_URL or from a throwaway server on PATH, else null. */
import type { TestProject } from "vitest/node";
import { needsServers } from "./needs-servers.ts";
import { findRedisServer, startRedisServer } from "./redis.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** Null: no Redis is available, so tests that need one are skipped. */
    redisUrl: string | null;
  }
}

export default async function setup(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  if (!needsServers(project)) return undefined;
  const given = process.env["TEST_REDIS_URL"];
  if (given !== undefined && given !== "") {
    project.provide("redisUrl", given);
    return undefined;
  }
  const binary = findRedisServer();
  if (binary === undefined) {
    project.provide("redisUrl", null);
    process.stderr.write("\n  REDIS TESTS ARE SKIPPED: set TEST_REDIS_URL, or put redis-server on PATH.\n\n");
    return undefined;
  }
  const server = await startRedisServer({ binary });
  project.provide("redisUrl", server.url);
  return async () => server[Symbol.asyncDispose]();
}
