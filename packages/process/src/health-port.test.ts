import { expect, test } from "vitest";
import { createHealth, startHealthPort } from "./index.ts";

test("a worker tells that it lives, and whether its dependencies answer", async () => {
  const health = createHealth();
  let isThere = true;
  health.add("database", async () => isThere);
  await using port = await startHealthPort({ host: "127.0.0.1", port: 0, health });
  const ask = async (path: string): Promise<unknown[]> => {
    const response = await fetch(`http://127.0.0.1:${port.port}${path}`);
    return [response.status, await response.json()];
  };

  expect(await ask("/live")).toEqual([200, { live: true }]);
  expect(await ask("/ready")).toEqual([200, { ready: true, checks: { database: "ok" } }]);
  isThere = false;
  expect(await ask("/ready")).toEqual([503, { ready: false, checks: { database: "not ready" } }]);
  expect(await ask("/elsewhere")).toEqual([404, {}]);
});
