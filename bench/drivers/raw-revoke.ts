/** The same for the bare `ws` server: from sending one durable statement with its NOTIFY to the socket's close. */
import { Pool } from "pg";
import type { WebSocket } from "ws";
import { z } from "zod";
import type { Driver } from "../load-protocol.ts";
import { closeSocket } from "../yardsticks/statements.ts";
import { closedByRevocation, openSocket } from "./live-socket.ts";

const Options = z.object({ url: z.string(), databaseUrl: z.string(), sockets: z.number() });

export async function openDriver(options: unknown): Promise<Driver> {
  const { url, databaseUrl, sockets } = Options.parse(options);
  const pool = new Pool({ connectionString: databaseUrl, max: 1, application_name: "bench-raw" });
  pool.on("error", () => undefined);
  const connected = new Map<string, WebSocket>();
  let named = 0;
  return {
    async prepare() {
      while (connected.size < sockets) {
        named += 1;
        connected.set(String(named), await openSocket(`${url}/${named}`));
      }
    },
    async operate() {
      const [first] = connected;
      if (!first) throw new RangeError("no socket is left to close");
      const [name, socket] = first;
      connected.delete(name);
      const closed = closedByRevocation(socket);
      const sent = performance.now();
      const [, tookMs] = await Promise.all([
        pool.query(closeSocket(name)),
        closed.then(() => performance.now() - sent),
      ]);
      return tookMs;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of connected.values()) socket.terminate();
      await pool.end();
    },
  };
}
