/** Decides who may open a WebSocket: by path, the browser's origin, and capacity. */
import { REQUEST_ID_HEADER } from "@continuo/access";
import type { Logger } from "@continuo/process";
import type { IncomingMessage, Server } from "node:http";
import type { Duplex } from "node:stream";
import type { NetworkOf } from "../rate-limit/network.ts";
import { logRefusal } from "../refusals.ts";
import { upgradeIdOf } from "../request-id.ts";
import type { SocketServer } from "./socket-server.ts";

const MAX_SOCKETS = 20_000;
const RETRY_AFTER_SECONDS = 10;

/** The HTTP status of each refusal, and its code and reason in the log. */
const REFUSALS = {
  path: { status: "404 Not Found", code: "NOT_FOUND", reason: "ROUTE_UNKNOWN" },
  origin: { status: "403 Forbidden", code: "FORBIDDEN", reason: "ORIGIN_NOT_ALLOWED" },
  full: { status: "503 Service Unavailable", code: "UNAVAILABLE", reason: "GATEWAY_FULL" },
  network: {
    status: `429 Too Many Requests\r\nretry-after: ${RETRY_AFTER_SECONDS}`,
    code: "RATE_LIMITED",
    reason: "TOO_MANY_SOCKETS",
  },
} as const;
type Refusal = (typeof REFUSALS)[keyof typeof REFUSALS];

/**
 * Passes upgrade requests for `/graphql` to the socket server, and refuses the others over HTTP. `perNetwork` limits
 * the open sockets of each network, authenticated or not; 0 means unlimited.
 */
export function serveUpgrades(
  http: Server,
  sockets: SocketServer,
  options: { allowedOrigins: readonly string[]; networkOf: NetworkOf; perNetwork: number; logger: Logger },
): void {
  const { allowedOrigins, networkOf, perNetwork, logger } = options;
  const open = new Map<string, number>();

  /** Counts a socket of a network; the returned function releases it. */
  function take(network: string): () => void {
    open.set(network, (open.get(network) ?? 0) + 1);
    return () => {
      const left = (open.get(network) ?? 0) - 1;
      if (left > 0) open.set(network, left);
      else open.delete(network);
    };
  }

  function refusalOf({ url = "", headers }: IncomingMessage, network: string | undefined): Refusal | undefined {
    if (url.split("?")[0] !== "/graphql") return REFUSALS.path;
    if (!isAllowedOrigin(headers.origin, headers.host, allowedOrigins)) return REFUSALS.origin;
    if (sockets.size >= MAX_SOCKETS) return REFUSALS.full;
    const isFull = network !== undefined && perNetwork > 0 && (open.get(network) ?? 0) >= perNetwork;
    return isFull ? REFUSALS.network : undefined;
  }

  http.on("upgrade", (request: IncomingMessage, stream: Duplex, head: Buffer) => {
    stream.on("error", destroy);
    const network = networkOf(request);
    const refusal = refusalOf(request, network);
    if (refusal !== undefined) {
      const requestId = upgradeIdOf(request);
      logRefusal(logger, refusal, { requestId });
      const head = `HTTP/1.1 ${refusal.status}\r\n${REQUEST_ID_HEADER}: ${requestId}`;
      stream.end(`${head}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`);
      return;
    }
    if (network !== undefined) stream.once("close", take(network));
    sockets.upgrades.handleUpgrade(request, stream, head, (socket) =>
      sockets.upgrades.emit("connection", socket, request),
    );
  });
}

/** Not a closure: it lives as long as the connection, and would keep the request in memory. */
function destroy(this: Duplex): void {
  this.destroy();
}

/** Only browsers send Origin, always truthfully; the page must come from this gateway or an allowed origin. */
function isAllowedOrigin(origin: string | undefined, host: string | undefined, allowed: readonly string[]): boolean {
  if (origin === undefined || allowed.includes(origin)) return true;
  return URL.canParse(origin) && new URL(origin).host === host;
}
