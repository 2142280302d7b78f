import { findRedisServer, startRedisServer } from "../packages/testkit/src/index.ts";

/** The URL of a Redis started for the benchmark; undefined if this machine has no Redis server. */
export async function openRedis(stack: AsyncDisposableStack): Promise<string | undefined> {
  const binary = findRedisServer();
  return binary && stack.use(await startRedisServer({ binary })).url;
}
