import { findRedisServer, startRedisServer } from "../packages/testkit/src/index.ts";

/** The URL of a Redis of the benchmark's own; undefined when this machine has no server for it. */
export async function openRedis(stack: AsyncDisposableStack): Promise<string | undefined> {
  const binary = findRedisServer();
  return binary && stack.use(await startRedisServer({ binary })).url;
}
