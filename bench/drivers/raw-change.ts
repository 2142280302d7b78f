/**
 * The same for the bare `ws` server: from sending one durable statement with its NOTIFY to one socket having it, while
 * others get it too.
 */
import { Pool } from "pg";
import { z } from "zod";
import type { Driver } from "../load-protocol.ts";
import { inTurn } from "../people.ts";
import { tell } from "../yardsticks/statements.ts";
import { openSocket, receives } from "./live-socket.ts";

const Options = z.object({ url: z.string(), databaseUrl: z.string(), people: z.number(), socketsEach: z.number() });

export async function openDriver(options: unknown): Promise<Driver> {
  const { url, databaseUrl, people, socketsEach } = Options.parse(options);
  const pool = new Pool({ connectionString: databaseUrl, max: 1, application_name: "bench-raw" });
  pool.on("error", () => undefined);
  const sockets = await inTurn(people * socketsEach, (index) => openSocket(`${url}/${index % people}`));
  let made = 0;
  return {
    async operate() {
      const person = made % people;
      const reader = sockets[person];
      if (!reader) throw new RangeError("each person needs a socket");
      made += 1;
      const value = `chosen ${made}`;
      const received = receives(reader, value);
      const sent = performance.now();
      const [, tookMs] = await Promise.all([
        pool.query(tell(String(person), value)),
        received.then(() => performance.now() - sent),
      ]);
      return tookMs;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.terminate();
      await pool.end();
    },
  };
}
