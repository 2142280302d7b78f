/**
 * A cluster's files: created whole or not at all, with their password and port.
 * Not the running server.
 */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { constants } from "node:fs";
import {
  access,
  chmod,
  chown,
  lchown,
  link,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { SetupError } from "@continuo/process";
import type { Account } from "./account.ts";
import type { Binaries } from "./binaries.ts";
import { launch } from "./launch.ts";
import { isRunning } from "./process-table.ts";

const MAJOR = "18";
const Settings = z.object({ password: z.string(), port: z.number().optional() });
type Settings = z.infer<typeof Settings>;

export interface Cluster extends Settings {
  /** Everything that belongs to this server: the cluster, its settings, its log. */
  readonly home: string;
  /** The Postgres data directory, `<home>/cluster`. */
  readonly directory: string;
  readonly logFile: string;
  readonly account: Account | undefined;
}

/**
 * Opens the cluster in `home`, creating it first if there is none. Throws SetupError E_PG_INIT, E_PG_DATA_VERSION,
 * E_PG_DATA_OWNER, E_PG_DATA_WRITE, E_PG_PASSWORD.
 */
export async function openCluster(
  home: string,
  options: { account: Account | undefined; binaries: Binaries; durable: boolean; now: Date },
): Promise<Cluster> {
  const directory = join(home, "cluster");
  await makeWritable(home);
  await clearLeftovers(home);
  if ((await exists(directory)) && !(await exists(join(directory, "PG_VERSION")))) {
    await rename(directory, `${directory}.broken-${options.now.toISOString().replaceAll(/[-:]|\.\d+/g, "")}`);
  }
  if (!(await exists(directory))) await makeCluster(home, directory, options);

  const version = (await readFile(join(directory, "PG_VERSION"), "utf8").catch(refuseForeign(directory))).trim();
  if (version !== MAJOR) {
    const fix = `Move ${home} away to begin afresh, or serve it with Postgres ${version} and set DATABASE_URL.`;
    throw new SetupError(
      "E_PG_DATA_VERSION",
      `The data in ${directory} was written by Postgres ${version}, and this is Postgres ${MAJOR}.`,
      fix,
    );
  }
  const account = await adoptOwner(directory, options.account);
  return { home, directory, logFile: join(home, "postgres.log"), account, ...(await readSettings(home)) };
}

async function makeWritable(home: string): Promise<void> {
  try {
    await mkdir(home, { recursive: true, mode: 0o700 });
    await access(home, constants.W_OK);
  } catch (cause) {
    throw new SetupError(
      "E_PG_DATA_WRITE",
      `The embedded Postgres cannot write its data to ${home}.`,
      "Make that directory writable, or choose another data directory.",
      cause,
    );
  }
}

/** Keeps `port` for the next start, so that URLs stay the same. */
export async function rememberPort(cluster: Cluster, port: number): Promise<void> {
  if (cluster.port === port) return;
  const file = join(cluster.home, "server.json");
  await writeFile(`${file}.new`, JSON.stringify({ password: cluster.password, port }), { mode: 0o600 });
  await rename(`${file}.new`, file);
}

async function makeCluster(
  home: string,
  directory: string,
  { account, binaries, durable }: { account: Account | undefined; binaries: Binaries; durable: boolean },
): Promise<void> {
  const { password } = await ensureSettings(home);
  const scratch = `${directory}.new-${process.pid}`;
  const data = join(scratch, "data");
  const passwordFile = join(scratch, "password");
  await mkdir(data, { recursive: true, mode: 0o700 });
  await writeFile(passwordFile, password, { mode: 0o600 });
  if (account) for (const path of [scratch, data, passwordFile]) await chown(path, account.uid, account.gid);

  const initdb = launch({
    program: binaries.initdb,
    directory: data,
    arguments: [
      "--username=postgres",
      "--auth=scram-sha-256",
      "--pwfile=../password",
      "--encoding=UTF8",
      "--locale-provider=builtin",
      "--builtin-locale=C.UTF-8",
      "--lc-messages=C",
      "--no-instructions",
      ...(durable ? [] : ["--no-sync"]),
    ],
    account,
    stdio: ["ignore", "ignore", "pipe"],
  });
  let complaint = "";
  initdb.stderr?.setEncoding("utf8").on("data", (chunk: string) => (complaint += chunk));
  const [code] = await once(initdb, "close").catch((cause: unknown) => [String(cause)]);
  if (code !== 0) {
    await rm(scratch, { recursive: true, force: true });
    const sentence = `A new Postgres cluster could not be made in ${home}: ${complaint.trim().split("\n")[0] || String(code)}.`;
    throw new SetupError(
      "E_PG_INIT",
      sentence,
      "Check free space and rights there, or set DATABASE_URL to a Postgres server of your own.",
    );
  }
  // Losing this race means that another start has just created the same cluster.
  await rename(data, directory).catch(() => undefined);
  await rm(scratch, { recursive: true, force: true });
}

async function ensureSettings(home: string): Promise<Settings> {
  const file = join(home, "server.json");
  const fresh = `${file}.new-${process.pid}`;
  await writeFile(fresh, JSON.stringify({ password: randomBytes(24).toString("base64url") }), { mode: 0o600 });
  await link(fresh, file).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code !== "EEXIST") throw cause;
  });
  await rm(fresh);
  return readSettings(home);
}

/** The saved password and port. Throws SetupError E_PG_PASSWORD. */
export async function readSettings(home: string): Promise<Settings> {
  const file = join(home, "server.json");
  try {
    await chmod(file, 0o600);
    return Settings.parse(JSON.parse(await readFile(file, "utf8")));
  } catch (cause) {
    throw new SetupError(
      "E_PG_PASSWORD",
      `The password of the embedded Postgres cannot be read from ${file}.`,
      `Restore that file, or move ${home} away to begin afresh.`,
      cause,
    );
  }
}

/** The account to run as. As root, Postgres runs as the owner of the data; data owned by root is given to `account`. */
async function adoptOwner(directory: string, account: Account | undefined): Promise<Account | undefined> {
  const { uid, gid } = await stat(directory);
  if (!account) {
    if (uid !== process.getuid?.()) refuseForeign(directory)(new Error(`owned by ${uid}`));
    return undefined;
  }
  if (uid !== 0) return { uid, gid };
  const entries = await readdir(directory, { recursive: true });
  for (const path of [directory, ...entries.map((entry) => join(directory, entry))])
    await lchown(path, account.uid, account.gid);
  return account;
}

function refuseForeign(directory: string): (cause: unknown) => never {
  return (cause) => {
    throw new SetupError(
      "E_PG_DATA_OWNER",
      `The data in ${directory} belongs to another user.`,
      "Start as that user (or as root), or choose another data directory.",
      cause,
    );
  };
}

async function clearLeftovers(home: string): Promise<void> {
  for (const name of await readdir(home)) {
    const pid = /^(?:cluster|server\.json)\.new-(\d+)$/.exec(name)?.[1];
    if (pid !== undefined && !isRunning(Number(pid))) await rm(join(home, name), { recursive: true, force: true });
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    (cause: NodeJS.ErrnoException) => cause.code !== "ENOENT",
  );
}
