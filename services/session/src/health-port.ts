/** `/live` and `/ready` of a worker, which has no other port. */
import { once } from "node:events";
import { createServer } from "node:http";
import { createHealth } from "@continuo/process";
import type { Pool } from "pg";

/** Listens until disposed of; ready means that the database answers. */
export async function startHealthPort(options: { host: string; port: number; pool: Pool }): Promise<AsyncDisposable> {
  const health = createHealth();
  health.add("database", async () => options.pool.query("SELECT 1"));

  const answer = async (path: string | undefined): Promise<{ status: number; body: unknown }> => {
    if (path === "/live") return { status: 200, body: { live: true } };
    if (path !== "/ready") return { status: 404, body: {} };
    const state = await health.ready();
    return { status: state.ready ? 200 : 503, body: state };
  };
  const server = createServer((request, response) => {
    void answer(request.url).then(({ status, body }) =>
      response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body)),
    );
  }).listen(options.port, options.host);
  await once(server, "listening");

  return {
    async [Symbol.asyncDispose]() {
      health.drain();
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}
