/** A receiver of notices: an HTTP server that gives configured answers and records its requests. */
import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type ServerResponse } from "node:http";

export interface Received {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export interface Receiver extends AsyncDisposable {
  readonly url: string;
  readonly received: Received[];
  /** Sets how it answers from now on; 204 by default. */
  answer: (response: ServerResponse, received: Received) => void;
}

/** Listens on a loopback port of its own; disposal closes open connections. */
export async function startReceiver(): Promise<Receiver> {
  const server = createServer((request, response) => {
    let body = "";
    request.setEncoding("utf8");
    request.on("data", (chunk: string) => void (body += chunk));
    request.on("end", () => {
      const got = { path: request.url ?? "", headers: request.headers, body };
      receiver.received.push(got);
      receiver.answer(response, got);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  const receiver: Receiver = {
    url: `http://127.0.0.1:${address.port}`,
    received: [],
    answer: (response) => void response.writeHead(204).end(),
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
  return receiver;
}
