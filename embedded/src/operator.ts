/**
 * Which installation an operator's command is for. A `DATABASE_URL` with one of our roles names it, and the environment
 * gives everything else; otherwise it is the one that `npm start` runs on this folder, whose environment is built from
 * its secrets.
 */
import { findEmbeddedPostgres, ROLES } from "@continuo/database";
import { SetupError } from "@continuo/process";
import { stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { loadEnv } from "./env.ts";
import { databaseUrls, roomEnvironments } from "./rooms.ts";
import { loadSecrets } from "./secrets.ts";

type Source = Readonly<Record<string, string | undefined>>;
type Room = "identity" | "session" | "userState";

/** The environment for a command of `room`. Throws SetupError E_NOT_RUNNING. */
export async function operatorEnvironment(source: Source, room: Room = "session"): Promise<Source> {
  if (namesRole(source["DATABASE_URL"])) return source;
  const env = loadEnv(source);
  const directory = resolve(env.DATA_DIRECTORY);
  const secretsFile = join(directory, "secrets.json");
  const adminUrl = env.DATABASE_URL ?? (await findEmbeddedPostgres(join(directory, "postgres")));
  const hasSecrets = await stat(secretsFile).then(
    () => true,
    () => false,
  );
  if (adminUrl === undefined || !hasSecrets) throw notRunning(directory, room);
  const secrets = await loadSecrets(secretsFile);
  const rooms = roomEnvironments({
    secrets,
    databaseUrl: databaseUrls(adminUrl, secrets.databasePasswords),
    redisUrl: env.REDIS_URL,
    mode: "development",
    logLevel: source["LOG_LEVEL"] ?? "warn",
  });
  return rooms[room];
}

function namesRole(databaseUrl: string | undefined): boolean {
  if (databaseUrl === undefined || !URL.canParse(databaseUrl)) return false;
  const { username } = new URL(databaseUrl);
  return Object.values(ROLES).some((role) => role === username);
}

function notRunning(directory: string, room: Room): SetupError {
  const needed = `DATABASE_URL (role ${ROLES[room]})${room === "session" ? " and MASTER_KEY" : ""}`;
  return new SetupError(
    "E_NOT_RUNNING",
    `Nothing runs on the data in ${directory}, and DATABASE_URL names no other installation.`,
    `Run npm start in another terminal, or set ${needed}.`,
  );
}
