/**
 * oidc-provider on Postgres: one table of payloads like its example adapters, with prepared statements; opaque access
 * tokens introspected by a confidential client, refresh tokens rotated by a public one.
 */
import { generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";
import { Pool } from "pg";
import { Provider, type Adapter, type AdapterPayload } from "oidc-provider";
import { serveParent } from "../child.ts";
import { listen } from "../yardsticks/http.ts";
import { CONNECTIONS, MakeSessions, PeerSettings, type HttpRequest } from "./peer.ts";

const TABLE = `
CREATE SCHEMA IF NOT EXISTS oidc;
CREATE TABLE IF NOT EXISTS oidc.payloads (
  id text, type text, payload jsonb NOT NULL, grant_id text, user_code text, uid text,
  expires_at timestamptz, consumed_at timestamptz, PRIMARY KEY (id, type));
CREATE INDEX IF NOT EXISTS payloads_grant_id ON oidc.payloads (grant_id);
CREATE INDEX IF NOT EXISTS payloads_uid ON oidc.payloads (uid);`;

const DAY_SECONDS = 86_400;
const PUBLIC = "public-client";
const RESOURCE_SERVER = { id: "resource-server", secret: "a secret for benchmarks only" };

function createAdapter(pool: Pool): new (type: string) => Adapter {
  const find = async (text: string, name: string, values: unknown[]): Promise<AdapterPayload | undefined> => {
    const { rows } = await pool.query<{ payload: AdapterPayload; consumed_at: Date | null }>({ name, text, values });
    const [row] = rows;
    if (row === undefined) return undefined;
    return { ...row.payload, ...(row.consumed_at && { consumed: Math.floor(row.consumed_at.getTime() / 1_000) }) };
  };
  return class PostgresAdapter implements Adapter {
    readonly type: string;
    constructor(type: string) {
      this.type = type;
    }
    async upsert(id: string, payload: AdapterPayload, expiresIn: number): Promise<void> {
      await pool.query({
        name: "oidc-upsert",
        text: `INSERT INTO oidc.payloads (id, type, payload, grant_id, user_code, uid, expires_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7)
               ON CONFLICT (id, type) DO UPDATE SET payload = EXCLUDED.payload, expires_at = EXCLUDED.expires_at`,
        values: [
          id,
          this.type,
          payload,
          payload.grantId ?? null,
          payload.userCode ?? null,
          payload.uid ?? null,
          expiresIn ? new Date(Date.now() + expiresIn * 1_000) : null,
        ],
      });
    }
    find(id: string): Promise<AdapterPayload | undefined> {
      const text = "SELECT payload, consumed_at FROM oidc.payloads WHERE id = $1 AND type = $2";
      return find(text, "oidc-find", [id, this.type]);
    }
    findByUserCode(code: string): Promise<AdapterPayload | undefined> {
      return find("SELECT payload, consumed_at FROM oidc.payloads WHERE user_code = $1", "oidc-code", [code]);
    }
    findByUid(uid: string): Promise<AdapterPayload | undefined> {
      return find("SELECT payload, consumed_at FROM oidc.payloads WHERE uid = $1", "oidc-uid", [uid]);
    }
    async consume(id: string): Promise<void> {
      const text = "UPDATE oidc.payloads SET consumed_at = now() WHERE id = $1 AND type = $2";
      await pool.query({ name: "oidc-consume", text, values: [id, this.type] });
    }
    async destroy(id: string): Promise<void> {
      const text = "DELETE FROM oidc.payloads WHERE id = $1 AND type = $2";
      await pool.query({ name: "oidc-destroy", text, values: [id, this.type] });
    }
    async revokeByGrantId(grantId: string): Promise<void> {
      await pool.query({
        name: "oidc-revoke",
        text: "DELETE FROM oidc.payloads WHERE grant_id = $1",
        values: [grantId],
      });
    }
  };
}

serveParent(async (settings) => {
  const { databaseUrl } = PeerSettings.parse(settings);
  const pool = new Pool({ connectionString: databaseUrl, max: CONNECTIONS });
  await pool.query(TABLE);
  const server = createServer();
  const url = await listen(server);
  const provider = new Provider(url, {
    adapter: createAdapter(pool),
    clients: [
      {
        client_id: PUBLIC,
        token_endpoint_auth_method: "none",
        grant_types: ["authorization_code", "refresh_token"],
        redirect_uris: ["https://client.example/cb"],
      },
      {
        client_id: RESOURCE_SERVER.id,
        client_secret: RESOURCE_SERVER.secret,
        grant_types: [],
        response_types: [],
        redirect_uris: [],
      },
    ],
    features: {
      introspection: { enabled: true, allowedPolicy: () => true },
      revocation: { enabled: true, allowedPolicy: () => true },
      devInteractions: { enabled: false },
    },
    rotateRefreshToken: true,
    clientDefaults: { id_token_signed_response_alg: "ES256" },
    enabledJWA: { idTokenSigningAlgValues: ["ES256"] },
    scopes: ["offline_access", "account"],
    jwks: { keys: [{ ...generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ format: "jwk" }) }] },
    ttl: { AccessToken: 300, RefreshToken: 30 * DAY_SECONDS, Grant: 30 * DAY_SECONDS },
    findAccount: (_context, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
    cookies: { keys: ["for benchmarks only"] },
  });
  const handle = provider.callback();
  server.on("request", (request, response) => void handle(request, response));

  const basic = `Basic ${Buffer.from(`${RESOURCE_SERVER.id}:${encodeURIComponent(RESOURCE_SERVER.secret)}`).toString("base64")}`;
  const form = { "content-type": "application/x-www-form-urlencoded" };
  // Without `openid`, so that there is no ID token to sign at each refresh.
  const scope = "offline_access account";

  async function authorize(index: number): Promise<{ accessToken: string; refreshToken: string }> {
    const client = await provider.Client.find(PUBLIC);
    if (!client) throw new Error("the client is not there");
    const accountId = `person-${process.pid}-${index}`;
    const grant = new provider.Grant({ accountId, clientId: PUBLIC });
    grant.addOIDCScope(scope);
    const grantId = await grant.save();
    const common = { client, accountId, grantId, scope, gty: "authorization_code" };
    const access = new provider.AccessToken(common);
    const refresh = new provider.RefreshToken({ ...common, iiat: Math.floor(Date.now() / 1_000), rotations: 0 });
    const [accessToken, refreshToken] = await Promise.all([access.save(), refresh.save()]);
    return { accessToken, refreshToken };
  }

  let made = 0;
  return {
    ready: url,
    async answer(question): Promise<HttpRequest[] | string[]> {
      const { what, people } = MakeSessions.parse(question);
      const tokens = await Promise.all(Array.from({ length: people }, () => authorize((made += 1))));
      if (what === "refresh") return tokens.map(({ refreshToken }) => refreshToken);
      return tokens.map(({ accessToken, refreshToken }): HttpRequest =>
        what === "revoke"
          ? {
              method: "POST",
              path: "/token/revocation",
              headers: form,
              body: String(new URLSearchParams({ token: refreshToken, client_id: PUBLIC })),
              expect: "",
            }
          : {
              method: "POST",
              path: "/token/introspection",
              headers: { ...form, authorization: basic },
              body: String(new URLSearchParams({ token: accessToken })),
              expect: '"active":true',
            },
      );
    },
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
      await pool.end();
    },
  };
});
