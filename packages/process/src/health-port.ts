/** `/live` and `/ready` of a worker, which has no other port. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { Health } from "./health.ts";

/** Listens until disposed of, which first makes `health` unready. `port` 0 takes a free one, told in `port` of the result. */
export async function startHealthPort(options: {
  host: string;
  port: number;
  health: Health;
}): Promise<AsyncDisposable & { readonly port: number }> {
  const { health } = options;

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

  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : options.port,
    async [Symbol.asyncDispose]() {
      health.drain();
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}
