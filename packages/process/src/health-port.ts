/** `/live`, `/ready` and `/metrics` for operators, apart from the port that serves clients. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { Health } from "./health.ts";
import { cannotListen } from "./listening.ts";
import { metrics } from "./metrics.ts";

/** Listens until disposed, which first makes `health` unready. `port` 0 takes a free one, given as `port` of the result. */
export async function startHealthPort(options: {
  host: string;
  port: number;
  health: Health;
}): Promise<AsyncDisposable & { readonly port: number }> {
  const { health } = options;

  const answer = async (path: string | undefined): Promise<Answer> => {
    if (path === "/live") return json(200, { live: true });
    if (path === "/metrics") return { status: 200, contentType: metrics.contentType, text: await metrics.text() };
    if (path !== "/ready") return json(404, {});
    const state = await health.ready();
    return json(state.ready ? 200 : 503, state);
  };
  const server = createServer((request, response) => {
    void answer(request.url).then(({ status, contentType, text }) =>
      response.writeHead(status, { "content-type": contentType }).end(text),
    );
  }).listen(options.port, options.host);
  await once(server, "listening").catch((cause: unknown) => {
    throw cannotListen(options, cause);
  });

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

interface Answer {
  readonly status: number;
  readonly contentType: string;
  readonly text: string;
}

function json(status: number, body: unknown): Answer {
  return { status, contentType: "application/json", text: JSON.stringify(body) };
}
