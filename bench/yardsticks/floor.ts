/**
 * The floor: the same requests answered by one hand-written process with node:http and prepared statements: no graph,
 * no services, no gateway. It verifies the caller's access token (once; then from a cache) and checks no revocation.
 */
import { Pool } from "pg";
import { z } from "zod";
import { serveParent } from "../child.ts";
import { openHttpServer } from "./http.ts";
import { answerDevices, answerMe, answerPull, answerPush, answerRevoke, answerSessions } from "./floor-answers.ts";
import { openTokens } from "./floor-tokens.ts";
import { rotate } from "./statements.ts";

const Settings = z.object({
  databaseUrl: z.string(),
  /** The JWK Set that verifies callers' access tokens, as text. */
  keySet: z.string(),
  /** HMAC key of the floor's own refresh tokens, base64url. */
  refreshKey: z.string(),
});

const Operation = z.object({ operationName: z.string(), variables: z.looseObject({}) });
const Refresh = z.object({ refreshToken: z.string() });

/** As many as one of our services has. */
const CONNECTIONS = 10;

serveParent(async (settings) => {
  const { databaseUrl, keySet, refreshKey } = Settings.parse(settings);
  const pool = new Pool({ connectionString: databaseUrl, max: CONNECTIONS, application_name: "bench-floor" });
  // A lost connection makes the next statement fail, which reports it.
  pool.on("error", () => undefined);
  const tokens = openTokens(keySet, refreshKey);

  async function refresh(variables: unknown): Promise<unknown> {
    const { grantId, generation } = tokens.readRefreshToken(Refresh.parse(variables).refreshToken);
    const { rows } = await pool.query(rotate(grantId, generation));
    return { refreshSession: tokens.issue(grantId, rows[0]) };
  }

  async function answer(
    operationName: string,
    variables: unknown,
    authorization: string | undefined,
  ): Promise<unknown> {
    if (operationName === "Refresh") return refresh(variables);
    const caller = tokens.callerOf(authorization);
    switch (operationName) {
      case "Me":
        return answerMe(pool, caller);
      case "Devices":
        return answerDevices(pool, caller);
      case "Push":
        return answerPush(pool, caller, variables);
      case "Check":
        return { active: true };
      case "Sessions":
        return answerSessions(pool, caller);
      case "Revoke":
        return answerRevoke(pool, caller, variables);
      case "Pull":
        return answerPull(pool, caller, variables);
      default:
        throw new Error(`the floor has no ${operationName}`);
    }
  }

  const server = await openHttpServer(async ({ headers }, body) => {
    const { operationName, variables } = Operation.parse(JSON.parse(body));
    return JSON.stringify({ data: await answer(operationName, variables, headers.authorization) });
  });
  return {
    ready: server.url,
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await pool.end();
    },
  };
});
