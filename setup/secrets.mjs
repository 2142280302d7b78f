/**
 * `npm run secrets`: writes `.env` with fresh keys and passwords for docker-compose.yml.
 * Needs nothing installed; never overwrites, since a lost MASTER_KEY signs everybody out and a lost password locks the database.
 */
import { createHash, generateKeyPairSync, randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";

/** Every secret of the scaled form, by variable name. */
function makeSecrets() {
  const gateway = makeKeyPair();
  const grant = makeKeyPair();
  return {
    POSTGRES_PASSWORD: makeSecret(),
    IDENTITY_DATABASE_PASSWORD: makeSecret(),
    SESSION_DATABASE_PASSWORD: makeSecret(),
    USER_STATE_DATABASE_PASSWORD: makeSecret(),
    GATEWAY_DATABASE_PASSWORD: makeSecret(),
    VALKEY_PASSWORD: makeSecret(),
    MASTER_KEY: makeSecret(),
    CURSOR_KEY: makeSecret(),
    GATEWAY_PRIVATE_KEY: gateway.privateKey,
    GATEWAY_PUBLIC_KEY: gateway.publicKey,
    GRANT_PRIVATE_KEY: grant.privateKey,
    GRANT_PUBLIC_KEY: grant.publicKey,
  };
}

/** 256 random bits in base64url: a password that needs no escaping anywhere, or a key. */
function makeSecret() {
  return randomBytes(32).toString("base64url");
}

/** An Ed25519 pair as JSON Web Keys (RFC 8037); `kid` is the thumbprint (RFC 7638). */
function makeKeyPair() {
  const pair = generateKeyPairSync("ed25519");
  const { crv, d, kty, x } = pair.privateKey.export({ format: "jwk" });
  const kid = createHash("sha256").update(JSON.stringify({ crv, kty, x })).digest("base64url");
  const publicKey = { kty, crv, x, kid, alg: "Ed25519" };
  return { publicKey: JSON.stringify(publicKey), privateKey: JSON.stringify({ ...publicKey, d }) };
}

const lines = Object.entries(makeSecrets()).map(([name, value]) => `${name}='${value}'\n`);
try {
  writeFileSync(".env", lines.join(""), { mode: 0o600, flag: "wx" });
  console.log(".env is written. Keep it: whoever has it can act as this installation. Next: docker compose up --build");
} catch (cause) {
  if (cause.code !== "EEXIST") throw cause;
  console.error("There is an .env already; its keys are in use. Move it away to start over with new ones.");
  process.exitCode = 1;
}
