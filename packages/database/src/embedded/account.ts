/**
 * The account that Postgres runs as. It refuses to run as root, so root lends it an existing unprivileged account.
 * Never creates an account.
 */
import { readFile } from "node:fs/promises";
import { SetupError } from "@continuo/process";

export interface Account {
  readonly uid: number;
  readonly gid: number;
}

/** The account to switch to: undefined unless this process is root, which uses `postgres`, or else `nobody`. */
export async function loadAccount(): Promise<Account | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const accounts = new Map(
    (await readFile("/etc/passwd", "utf8")).split("\n").map((line) => [line.split(":")[0], line.split(":")] as const),
  );
  for (const name of ["postgres", "nobody"]) {
    const [, , uid, gid] = accounts.get(name) ?? [];
    if (Number(uid) > 0 && Number(gid) > 0) return { uid: Number(uid), gid: Number(gid) };
  }
  throw new SetupError(
    "E_PG_ROOT",
    "Postgres does not run as root, and this machine has neither a postgres nor a nobody account to run it with.",
    "Start as an ordinary user, or set DATABASE_URL to a Postgres server of your own.",
  );
}
