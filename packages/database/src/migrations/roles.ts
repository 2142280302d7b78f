/**
 * The login roles of Continuo's processes: each can access its own Postgres schema and no other.
 * `prisma/grants.sql` says what each may do there.
 */
import { createHash, createHmac, pbkdf2Sync, randomBytes } from "node:crypto";
import { Client, type ClientBase } from "pg";

/** Process → its role. */
export const ROLES = {
  identity: "continuo_identity",
  session: "continuo_session",
  userState: "continuo_user_state",
  gateway: "continuo_gateway",
} as const;

export type RoleOwner = keyof typeof ROLES;
export type Role = (typeof ROLES)[RoleOwner];
/** The password of each role, in plain text. */
export type RolePasswords = Readonly<Record<RoleOwner, string>>;

/** The connection string of a role for the database of `adminUrl`; other parameters (TLS) are kept. */
export function roleUrl(adminUrl: string, role: Role, password: string): string {
  const url = new URL(adminUrl);
  url.username = role;
  url.password = encodeURIComponent(password);
  return url.href;
}

/** Creates missing roles, and sets the password of each role that cannot log in with it. */
export async function ensureRoles(admin: ClientBase, adminUrl: string, passwords: RolePasswords): Promise<void> {
  const owners = Object.keys(ROLES).filter(isOwner);
  const able = await Promise.all(owners.map((owner) => canLogIn(roleUrl(adminUrl, ROLES[owner], passwords[owner]))));
  for (const [index, owner] of owners.entries()) {
    if (!able[index]) await giveLogin(admin, ROLES[owner], passwords[owner]);
  }
}

function isOwner(owner: string): owner is RoleOwner {
  return owner in ROLES;
}

async function canLogIn(url: string): Promise<boolean> {
  const client = new Client({ connectionString: url });
  client.on("error", () => undefined);
  try {
    await client.connect();
    await client.end();
    return true;
  } catch {
    return false;
  }
}

async function giveLogin(admin: ClientBase, role: Role, password: string): Promise<void> {
  const { rowCount } = await admin.query("SELECT FROM pg_roles WHERE rolname = $1", [role]);
  const verb = rowCount === 0 ? "CREATE" : "ALTER";
  await admin.query(
    `${verb} ROLE ${role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT PASSWORD '${scramVerifier(password, randomBytes(16))}'`,
  );
}

/**
 * The verifier that Postgres stores for a password (RFC 5803). Sent in its place, so that the password never reaches a
 * server log.
 */
export function scramVerifier(password: string, salt: Buffer, iterations = 4_096): string {
  const salted = pbkdf2Sync(password, salt, iterations, 32, "sha256");
  const key = (name: string): Buffer => createHmac("sha256", salted).update(name).digest();
  const stored = createHash("sha256").update(key("Client Key")).digest("base64");
  return `SCRAM-SHA-256$${iterations}:${salt.toString("base64")}$${stored}:${key("Server Key").toString("base64")}`;
}
