import { once } from "node:events";
import { createServer } from "node:net";
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

test("a port that cannot be had is told by name", async () => {
  const health = createHealth();
  const squatter = createServer().listen(0, "127.0.0.1");
  await once(squatter, "listening");
  try {
    const address = squatter.address();
    const port = typeof address === "object" ? (address?.port ?? 0) : 0;
    await expect(startHealthPort({ host: "127.0.0.1", port, health })).rejects.toMatchObject({
      code: "E_PORT_BUSY",
      message: expect.stringContaining(String(port)),
    });
    // An address that RFC 5737 keeps for documents.
    await expect(startHealthPort({ host: "192.0.2.1", port: 0, health })).rejects.toMatchObject({ code: "E_LISTEN" });
  } finally {
    squatter.close();
  }
});
