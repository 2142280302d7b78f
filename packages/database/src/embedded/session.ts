/**
 * The supervisor's own session on its server. It holds the lock that marks the server as supervised;
 * the lock ends with the session, so a killed supervisor never leaves it behind.
 */
import { realpath } from "node:fs/promises";
import { SetupError } from "@continuo/process";
import { Client, DatabaseError } from "pg";
import type { Cluster } from "./cluster.ts";

/** "Continuo" in ASCII, as a number. */
const SUPERVISOR_LOCK = "4859223969220162927";
const WRONG_PASSWORD = new Set(["28P01", "28000"]);

export interface Session {
  readonly client: Client;
  /** Resolves when the connection is gone, for whatever reason. */
  readonly ended: Promise<void>;
}

/** A superuser session, or undefined while the server is not accepting any. Throws SetupError E_PG_PASSWORD. */
export async function openSession(cluster: Cluster, port: number): Promise<Session | undefined> {
  const client = new Client({
    host: "127.0.0.1",
    port,
    user: "postgres",
    password: cluster.password,
    database: "postgres",
    application_name: `continuo-supervisor-${process.pid}`,
  });
  client.on("error", () => undefined);
  const ended = new Promise<void>((resolve) => client.once("end", resolve));
  try {
    await client.connect();
    return { client, ended };
  } catch (cause) {
    if (!(cause instanceof DatabaseError) || !WRONG_PASSWORD.has(cause.code ?? "")) return undefined;
    throw new SetupError(
      "E_PG_PASSWORD",
      `The Postgres on port ${port} does not accept the password kept in ${cluster.home}.`,
      `Stop that server, or move ${cluster.home} away to begin afresh.`,
      cause,
    );
  }
}

/** Whether this session's server serves this cluster's directory, and not a copy of it. */
export async function serves({ client }: Session, cluster: Cluster, pid: number): Promise<boolean> {
  const { rows } = await client.query<{ data_directory: string }>("SHOW data_directory");
  const directory = rows[0]?.data_directory.replace("/proc/self/", `/proc/${pid}/`);
  return directory !== undefined && (await realpath(directory)) === (await realpath(cluster.directory));
}

/** Takes the supervisor lock in this session. Throws SetupError E_PG_IN_USE when another supervisor holds it. */
export async function takeOver({ client }: Session, cluster: Cluster): Promise<void> {
  const { rows } = await client.query<{ taken: boolean }>("SELECT pg_try_advisory_lock($1) AS taken", [
    SUPERVISOR_LOCK,
  ]);
  if (rows[0]?.taken) return;
  throw inUse(cluster);
}

/** The error when another running start owns the cluster. */
export function inUse(cluster: Cluster): SetupError {
  return new SetupError(
    "E_PG_IN_USE",
    `Another start is already using the database in ${cluster.home}.`,
    "Stop that one first, or choose another data directory.",
  );
}
