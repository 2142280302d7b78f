/** Which route takes which WebSocket of a port. */
import type { IncomingMessage, Server } from "node:http";
import type { Duplex } from "node:stream";

/** Disposing closes its sockets. */
export interface SocketRoute extends AsyncDisposable {
  readonly path: string;
  /** Takes over a socket; false when it takes no more. */
  take(request: IncomingMessage, stream: Duplex, head: Buffer): boolean;
}

/** A socket that no route takes gets 404, or 503 if its route is full or closing. */
export function routeSockets(server: Server, routes: readonly SocketRoute[]): void {
  server.on("upgrade", (request: IncomingMessage, stream: Duplex, head: Buffer) => {
    const path = request.url?.split("?")[0];
    const route = routes.find((route) => route.path === path);
    if (route?.take(request, stream, head)) return;
    stream.on("error", () => undefined);
    stream.end(`HTTP/1.1 ${route ? "503 Service Unavailable" : "404 Not Found"}\r\nconnection: close\r\n\r\n`);
  });
}
