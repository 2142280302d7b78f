/**
 * A bare `ws` server that closes a socket when Postgres says so: a client names itself in the URL, and a NOTIFY with that
 * name closes it with 4403. No tokens, no log, no receipts: the least that a revocation can be. What comes on the other
 * channel it sends to all sockets: the least that an event can be.
 */
import { once } from "node:events";
import { Client } from "pg";
import { WebSocketServer, type WebSocket } from "ws";
import { z } from "zod";
import { serveParent } from "../child.ts";
import { CLOSE_CHANNEL, TELL_CHANNEL } from "./statements.ts";

const Settings = z.object({ databaseUrl: z.string() });

serveParent(async (settings) => {
  const { databaseUrl } = Settings.parse(settings);
  const sockets = new Map<string, WebSocket>();
  const listener = new Client({ connectionString: databaseUrl, application_name: "bench-bare-ws" });
  listener.on("error", () => undefined);
  await listener.connect();
  listener.on("notification", ({ channel, payload = "" }) => {
    if (channel === CLOSE_CHANNEL) sockets.get(payload)?.close(4403, "SESSION_ENDED");
    else for (const socket of sockets.values()) socket.send(JSON.stringify({ value: payload }));
  });
  await listener.query(`LISTEN ${CLOSE_CHANNEL}; LISTEN ${TELL_CHANNEL}`);

  const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
  server.on("connection", (socket, { url = "/" }) => {
    const name = url.slice(1);
    sockets.set(name, socket);
    socket.on("close", () => sockets.delete(name));
  });
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return {
    ready: `ws://127.0.0.1:${address.port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of server.clients) socket.terminate();
      server.close();
      await listener.end();
    },
  };
});
