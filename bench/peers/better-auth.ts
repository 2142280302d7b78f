/**
 * better-auth on Postgres, set up as its documentation says, behind node:http: opaque session tokens in a cookie, read
 * from the database at each check. Rate limiting and telemetry are off; nothing that makes it faster is.
 */
import { createServer } from "node:http";
import { betterAuth } from "better-auth";
import { getMigrations } from "better-auth/db/migration";
import { toNodeHandler } from "better-auth/node";
import { Pool } from "pg";
import { z } from "zod";
import { serveParent } from "../child.ts";
import { listen } from "../yardsticks/http.ts";
import { CONNECTIONS, MakeSessions, PeerSettings, type HttpRequest } from "./peer.ts";

/** The speed-up that its documentation offers: the session is also in a signed cookie, trusted for five minutes. */
const Settings = PeerSettings.extend({ cookieCache: z.boolean(), refreshEachTime: z.boolean() });

serveParent(async (settings) => {
  const { databaseUrl, cookieCache, refreshEachTime } = Settings.parse(settings);
  const pool = new Pool({ connectionString: databaseUrl, max: CONNECTIONS, options: "-c search_path=better_auth" });
  await pool.query("CREATE SCHEMA IF NOT EXISTS better_auth");
  const server = createServer();
  const url = await listen(server);
  const auth = betterAuth({
    baseURL: url,
    secret: "a secret for benchmarks only, long enough",
    database: pool,
    emailAndPassword: {
      enabled: true,
      autoSignIn: true,
      // Signing in is not measured, and a slow hash would take most of the time between turns.
      password: { hash: async (password) => password, verify: async ({ hash, password }) => hash === password },
    },
    session: { cookieCache: { enabled: cookieCache }, ...(refreshEachTime && { updateAge: 0 }) },
    rateLimit: { enabled: false },
    telemetry: { enabled: false },
  });
  await (await getMigrations(auth.options)).runMigrations();
  const handle = toNodeHandler(auth);
  server.on("request", (request, response) => void handle(request, response));

  let people = 0;
  /** A new person with `sessions` sessions; returns each one's cookies. */
  async function signUp(sessions: number): Promise<{ cookie: string; token: string }[]> {
    people += 1;
    const body = {
      name: "Bench",
      email: `bench-${process.pid}-${people}@example.com`,
      password: "for benchmarks only",
    };
    const first = await auth.api.signUpEmail({ body, returnHeaders: true });
    const { password, email } = body;
    const more = await Promise.all(
      Array.from({ length: sessions - 1 }, () =>
        auth.api.signInEmail({ body: { email, password }, returnHeaders: true }),
      ),
    );
    return [first, ...more].map(({ headers, response }) => ({
      cookie: headers
        .getSetCookie()
        .map((line) => line.split(";")[0])
        .join("; "),
      token: response.token ?? "",
    }));
  }

  const requests = {
    check: ({ cookie }: { cookie: string }): HttpRequest => ({
      method: "GET",
      path: "/api/auth/get-session",
      headers: { cookie },
      expect: '"session":',
    }),
    list: ({ cookie }: { cookie: string }): HttpRequest => ({
      method: "GET",
      path: "/api/auth/list-sessions",
      headers: { cookie },
      expect: '"expiresAt":',
    }),
    revoke: ({ cookie }: { cookie: string }, other: { token: string }): HttpRequest => ({
      method: "POST",
      path: "/api/auth/revoke-session",
      headers: { cookie, origin: url, "content-type": "application/json" },
      body: JSON.stringify({ token: other.token }),
      expect: '"status":true',
    }),
  };

  return {
    ready: url,
    async answer(question) {
      const { what, people: count, sessions } = MakeSessions.parse(question);
      const made: HttpRequest[] = [];
      for (let person = 0; person < count; person += 1) {
        const [first, ...others] = await signUp(sessions);
        if (!first) throw new Error("nobody signed up");
        if (what === "revoke") made.push(...others.map((other) => requests.revoke(first, other)));
        else made.push(requests[what === "list" ? "list" : "check"](first));
      }
      return made;
    },
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
      await pool.end();
    },
  };
});
