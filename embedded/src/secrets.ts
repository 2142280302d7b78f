/** The keys and passwords of one embedded system: generated once, kept in a file that only its owner can read. */
import { generateKey } from "@continuo/access";
import { SetupError } from "@continuo/process";
import { randomBytes } from "node:crypto";
import { chmod, link, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { z } from "zod";

const Key = z.looseObject({ kty: z.string(), kid: z.string() });
const KeyPair = z.object({ publicJwk: Key, privateJwk: Key });

const Secrets = z.object({
  gatewayKey: KeyPair,
  grantKey: KeyPair,
  masterKey: z.string(),
  cursorKey: z.string(),
  databasePasswords: z.object({
    identity: z.string(),
    session: z.string(),
    userState: z.string(),
    gateway: z.string(),
  }),
  selfCheckPassword: z.string(),
});
export type Secrets = z.infer<typeof Secrets>;

/** Reads `file`, creating it first if there is none. Throws SetupError E_SECRETS_UNREADABLE. */
export async function loadSecrets(file: string): Promise<Secrets> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  const known = await readFile(file, "utf8").catch((cause: NodeJS.ErrnoException) => {
    if (cause.code !== "ENOENT") throw unreadable(file, cause);
    return undefined;
  });
  if (known === undefined) {
    await writeOnce(file, JSON.stringify(await makeSecrets(), undefined, 2));
    return loadSecrets(file);
  }
  try {
    await chmod(file, 0o600);
    return Secrets.parse(JSON.parse(known));
  } catch (cause) {
    throw unreadable(file, cause);
  }
}

async function makeSecrets(): Promise<Secrets> {
  const secret = (): string => randomBytes(32).toString("base64url");
  const [gatewayKey, grantKey] = await Promise.all([generateKey("Ed25519"), generateKey("Ed25519")]);
  return {
    gatewayKey,
    grantKey,
    masterKey: secret(),
    cursorKey: secret(),
    databasePasswords: { identity: secret(), session: secret(), userState: secret(), gateway: secret() },
    selfCheckPassword: secret(),
  };
}

/** Writes the file whole or not at all, and never overwrites what another start has just written. */
async function writeOnce(file: string, text: string): Promise<void> {
  const fresh = `${file}.new-${process.pid}`;
  await writeFile(fresh, text, { mode: 0o600, flush: true });
  await link(fresh, file).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code !== "EEXIST") throw cause;
  });
  await rm(fresh);
}

function unreadable(file: string, cause: unknown): SetupError {
  return new SetupError(
    "E_SECRETS_UNREADABLE",
    `The keys in ${file} cannot be read.`,
    `Restore that file, or move ${dirname(file)} away to begin afresh.`,
    cause,
  );
}
