import { createLogger } from "@continuo/process";
import { expect, it } from "vitest";
import { eventually } from "../fixtures/eventually.ts";
import { createMemoryPokes } from "../fixtures/memory-pokes.ts";
import { createRevocationFeed } from "./revocation-feed.ts";
import { revocationLog, startRevocations } from "./start-revocations.ts";

const logger = createLogger({ name: "test", level: "silent" });

it("a gateway that stops takes its leave as the last it says, so that no receipt waits for it", async () => {
  const posts: [string, unknown][] = [];
  let held: Promise<void> | undefined;
  const session = {
    async post(path: string, body: unknown) {
      posts.push([path, body]);
      await held;
      return { hasMore: false, revocations: [] };
    },
  };
  const feed = createRevocationFeed({
    ...revocationLog(session, "gateway-1"),
    apply: () => 0,
    now: () => performance.now(),
    logger,
  });
  const pokes = createMemoryPokes();
  const following = await startRevocations({ feed, pokes, logger, onUnknown: () => undefined, readEveryMs: 1 });
  await eventually(() => expect(posts.length).toBeGreaterThan(1));
  const { promise, resolve } = Promise.withResolvers<void>();
  held = promise;
  const before = posts.length;
  await eventually(() => expect(posts.length).toBeGreaterThan(before));
  // A read is under way.
  const leaving = following[Symbol.asyncDispose]();
  resolve();
  await leaving;
  const said = posts.length;
  expect(posts.at(-1)).toEqual(["/internal/revocations/leave", { replica: "gateway-1", acks: [] }]);
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(posts).toHaveLength(said);
});
