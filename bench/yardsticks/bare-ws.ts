/**
 * A bare `ws` server that does to sockets what Postgres says: clients give their name in the URL, and a NOTIFY closes
 * all sockets of a name with 4403, or sends them a value. No tokens, no log, no receipts: the least that a revocation
 * or an event can be.
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
  const sockets = new Map<string, Set<WebSocket>>();
  const listener = new Client({ connectionString: databaseUrl, application_name: "bench-bare-ws" });
  listener.on("error", () => undefined);
  await listener.connect();
  listener.on("notification", ({ channel, payload = "" }) => {
    const [name = "", ...words] = payload.split(" ");
    const text = JSON.stringify({ value: words.join(" ") });
    for (const socket of sockets.get(name) ?? [])
      if (channel === CLOSE_CHANNEL) socket.close(4403, "SESSION_ENDED");
      else socket.send(text);
  });
  await listener.query(`LISTEN ${CLOSE_CHANNEL}; LISTEN ${TELL_CHANNEL}`);

  const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
  server.on("connection", (socket, { url = "/" }) => {
    const name = url.slice(1);
    const named = sockets.get(name) ?? new Set();
    sockets.set(name, named.add(socket));
    socket.on("close", () => named.delete(socket) && named.size === 0 && sockets.delete(name));
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
