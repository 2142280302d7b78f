/**
 * GraphQL over WebSocket (graphql-transport-ws) for signed-in callers. The token or ticket is checked at
 * `connection_init`, the session again with each operation. To outlive its token, a socket needs a fresh one of the
 * same session, sent in a ping; the pong says for how many seconds it is valid.
 */
import { REQUEST_ID_HEADER } from "@continuo/access";
import { CloseCode, GRAPHQL_TRANSPORT_WS_PROTOCOL, handleProtocols } from "graphql-ws";
import type { IncomingMessage } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { type Server, WebSocketServer } from "ws";
import type { NetworkOf } from "../rate-limit/network.ts";
import { upgradeIdOf } from "../request-id.ts";
import { ConnectedSocket, Connection, createSharedState } from "./connection.ts";
import { type Host, Peer } from "./peer.ts";

export interface SocketServer extends AsyncDisposable {
  /** Takes over an upgraded connection. */
  readonly upgrades: Server<typeof ConnectedSocket>;
  readonly size: number;
}

const MAX_MESSAGE_BYTES = 256 * 1024;
const PING_EVERY_MS = 12_000;
const CLOSE_WITHIN_MS = 2_000;
const CLOSE_BATCH = 200;

export function createSocketServer(
  options: Host & { readonly networkOf: NetworkOf; readonly pingEveryMs?: number | undefined },
): SocketServer {
  const { networkOf, logger, pingEveryMs = PING_EVERY_MS } = options;
  const upgrades = new WebSocketServer({
    noServer: true,
    WebSocket: ConnectedSocket,
    maxPayload: MAX_MESSAGE_BYTES,
    perMessageDeflate: false,
    handleProtocols,
    // Client tracking would add a close listener with a closure per socket.
    clientTracking: false,
  });
  const shared = createSharedState({ pingEveryMs, logger });
  const { open } = shared;

  upgrades.on("headers", (headers, request) => headers.push(`${REQUEST_ID_HEADER}: ${upgradeIdOf(request)}`));
  upgrades.on("connection", (socket: ConnectedSocket, request: IncomingMessage) => {
    const network = networkOf(request);
    const upgraded = { socket, stream: request.socket, requestId: upgradeIdOf(request) };
    const connection = new Connection(upgraded, shared, (connection) => new Peer(options, connection, network));
    if (socket.protocol !== GRAPHQL_TRANSPORT_WS_PROTOCOL)
      connection.close(CloseCode.SubprotocolNotAcceptable, "Subprotocol not acceptable", "PROTOCOL");
  });

  return {
    upgrades,
    get size() {
      return open.size;
    },
    async [Symbol.asyncDispose]() {
      // In batches, so that this replica's clients do not all reach the next at once.
      const sockets = [...open];
      const allClosed = Promise.all(sockets.map((socket) => new Promise((resolve) => socket.once("close", resolve))));
      for (let from = 0; from < sockets.length; from += CLOSE_BATCH) {
        for (const socket of sockets.slice(from, from + CLOSE_BATCH)) socket.connection?.goAway();
        if (from + CLOSE_BATCH < sockets.length) await delay(20);
      }
      await Promise.race([allClosed, delay(CLOSE_WITHIN_MS)]);
      for (const socket of open) socket.terminate();
      upgrades.close();
    },
  };
}
