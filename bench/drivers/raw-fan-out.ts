/** The same for the bare `ws` server: from sending one durable statement with its NOTIFY to each socket having it. */
import { Pool } from "pg";
import { z } from "zod";
import type { Driver } from "../load-protocol.ts";
import { inTurn } from "../people.ts";
import { tell } from "../yardsticks/statements.ts";
import { openSocket } from "./live-socket.ts";
import { openWaves } from "./waves.ts";

const Options = z.object({ url: z.string(), databaseUrl: z.string() });

export async function openDriver(options: unknown, workers: number): Promise<Driver> {
  const { url, databaseUrl } = Options.parse(options);
  const pool = new Pool({ connectionString: databaseUrl, max: 1, application_name: "bench-raw" });
  pool.on("error", () => undefined);
  const sockets = await inTurn(workers, () => openSocket(`${url}/all`));
  let told = 0;
  return {
    operate: openWaves(sockets, () => {
      told += 1;
      const value = `told ${told}`;
      return { value, send: async () => void (await pool.query(tell("all", value))) };
    }),
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.terminate();
      await pool.end();
    },
  };
}
