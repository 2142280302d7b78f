/** A connection that listens on one channel. Needs a session of its own: not a pooler in transaction mode. */
import { databaseUnreachable } from "@continuo/process";
import { Client, type ClientConfig } from "pg";
import type { OpenLine } from "./line.ts";

/** Opens the connection; `hear` gets each payload. Rejects when the server cannot be reached. */
export async function listen(
  config: ClientConfig & { connectionString: string },
  channel: string,
  hear: (payload: string) => void,
): Promise<OpenLine> {
  const client = new Client(config);
  const closed = Promise.withResolvers<void>();
  client.on("error", () => closed.resolve());
  client.on("end", () => closed.resolve());
  client.on("notification", (heard) => {
    if (heard.channel === channel) hear(heard.payload ?? "");
  });
  try {
    await client.connect();
    await client.query(`LISTEN ${channel}`);
  } catch (cause) {
    await client.end().catch(() => undefined);
    throw databaseUnreachable(config.connectionString, cause);
  }
  return {
    closed: closed.promise,
    probe: async () => void (await client.query("SELECT 1")),
    [Symbol.asyncDispose]: () => client.end(),
  };
}
