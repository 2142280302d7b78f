/** Who may open a WebSocket at all: the path, the browser's origin, and room for one more. */
import type { IncomingMessage, Server } from "node:http";
import type { Duplex } from "node:stream";
import type { SocketServer } from "./socket-server.ts";

const MAX_SOCKETS = 20_000;

/** Lets upgrade requests to `/graphql` through to the socket server, and answers the others over HTTP. */
export function serveUpgrades(http: Server, sockets: SocketServer, allowedOrigins: readonly string[]): void {
  http.on("upgrade", (request: IncomingMessage, stream: Duplex, head: Buffer) => {
    stream.on("error", () => stream.destroy());
    const refusal = refusalOf(request, sockets.size, allowedOrigins);
    if (refusal !== undefined) {
      stream.end(`HTTP/1.1 ${refusal}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`);
      return;
    }
    sockets.upgrades.handleUpgrade(request, stream, head, (socket) =>
      sockets.upgrades.emit("connection", socket, request),
    );
  });
}

function refusalOf(request: IncomingMessage, open: number, allowedOrigins: readonly string[]): string | undefined {
  const [path] = (request.url ?? "").split("?");
  if (path !== "/graphql") return "404 Not Found";
  if (!isAllowedOrigin(request.headers.origin, request.headers.host, allowedOrigins)) return "403 Forbidden";
  if (open >= MAX_SOCKETS) return "503 Service Unavailable";
  return undefined;
}

/** Only browsers send an Origin, always truthfully; their pages must be ours or be allowed. */
function isAllowedOrigin(origin: string | undefined, host: string | undefined, allowed: readonly string[]): boolean {
  if (origin === undefined || allowed.includes(origin)) return true;
  return URL.canParse(origin) && new URL(origin).host === host;
}
