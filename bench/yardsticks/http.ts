/** A bare node:http server on a free loopback port: the base of the HTTP yardsticks. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";

export interface HttpServer extends AsyncDisposable {
  readonly url: string;
}

/** `handle` gets the whole body. A rejection is answered with 500, at which the load generator stops. */
export async function openHttpServer(
  handle: (request: IncomingMessage, body: string) => Promise<string> | string,
): Promise<HttpServer> {
  async function answer(request: IncomingMessage, response: ServerResponse, body: string): Promise<void> {
    try {
      send(response, 200, await handle(request, body));
    } catch (cause) {
      send(response, 500, JSON.stringify({ errors: [{ message: String(cause) }] }));
    }
  }

  const server = createServer((request, response) => {
    let body = "";
    request.setEncoding("utf8");
    request.on("data", (chunk: string) => (body += chunk));
    request.on("end", () => void answer(request, response, body));
  });
  const url = await listen(server);
  return {
    url: `${url}/graphql`,
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}

/** Listens on a free port; returns the base URL, for example `http://127.0.0.1:40123`. */
export async function listen(server: Server): Promise<string> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return `http://127.0.0.1:${address.port}`;
}

function send(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(text) });
  response.end(text);
}
