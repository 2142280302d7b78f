/** A session subgraph and its gateway in the test's process, over loopback, with their own database and no other subgraphs. */
import { createGrantSigner, generateKey, type GrantClaims } from "@continuo/access";
import { startApp as startGateway } from "@continuo/gateway/app";
import { Env as GatewayEnv, subgraphUrlVariables } from "@continuo/gateway/env";
import { startApp as startSession } from "@continuo/session/app";
import { Env as SessionEnv } from "@continuo/session/env";
import { seed } from "@continuo/session/seed";
import { createTestDatabase, freePort } from "@continuo/testkit";
import { randomBytes, randomUUID } from "node:crypto";
import { Pool } from "pg";

export interface SessionBehindGateway extends AsyncDisposable {
  /** The gateway's base URL. */
  readonly url: string;
  /** Superuser: for arranging. */
  readonly admin: Pool;
  /** A sign-in grant as identity would sign it; by password, just now, unless `claims` say otherwise. */
  grant(claims?: Partial<Omit<GrantClaims, "exp">>): Promise<string>;
}

/** Starts both. Pages of https://app.example.com may call. The issuer is the gateway's base URL plus `issuerPath`. */
export async function startSessionBehindGateway({
  logLevel = "silent",
  issuerPath = "",
}: { logLevel?: "silent" | "trace"; issuerPath?: string } = {}): Promise<SessionBehindGateway> {
  await using opening = new AsyncDisposableStack();
  const database = opening.use(await createTestDatabase());
  const [gatewayKey, grantKey, port] = await Promise.all([generateKey("Ed25519"), generateKey("Ed25519"), freePort()]);
  const url = `http://127.0.0.1:${port}`;
  const issuer = url + issuerPath;
  const sessionEnv = SessionEnv.parse({
    PORT: 0,
    LOG_LEVEL: logLevel,
    DATABASE_URL: database.url.session,
    GATEWAY_PUBLIC_KEY: JSON.stringify(gatewayKey.publicJwk),
    GRANT_PUBLIC_KEY: JSON.stringify(grantKey.publicJwk),
    MASTER_KEY: randomBytes(32).toString("base64url"),
    TOKEN_ISSUER: issuer,
  });
  await seed(sessionEnv);
  const admin = opening.adopt(new Pool({ connectionString: database.adminUrl }), (pool) => pool.end());
  const session = opening.use(await startSession(sessionEnv));
  const nobody = "http://127.0.0.1:1";
  opening.use(
    await startGateway(
      GatewayEnv.parse({
        PORT: port,
        LOG_LEVEL: logLevel,
        GATEWAY_PRIVATE_KEY: JSON.stringify(gatewayKey.privateJwk),
        ...subgraphUrlVariables((name) => (name === "session" ? new URL(session.url).origin : nobody)),
        PUBLIC_URL: url,
        TOKEN_ISSUER: issuer,
        ALLOWED_ORIGINS: "https://app.example.com",
        DATABASE_URL: database.url.gateway,
      }),
    ),
  );
  const signer = createGrantSigner(grantKey.privateJwk);
  const opened = opening.move();
  return {
    url,
    admin,
    grant(claims) {
      const now = new Date();
      const auth_time = Math.floor(now.getTime() / 1_000);
      return signer.sign(
        { jti: randomUUID(), sub: randomUUID(), acr: "aal1", amr: ["pwd"], auth_time, ...claims },
        now,
      );
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}
