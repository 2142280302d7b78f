/** express-session with connect-redis, set up as their documentation says: what most people run. */
import { createServer } from "node:http";
import { RedisStore } from "connect-redis";
import express from "express";
import session from "express-session";
import { createClient } from "redis";
import { z } from "zod";
import { serveParent } from "../child.ts";
import { listen } from "../yardsticks/http.ts";
import { MakeSessions, type HttpRequest } from "./peer.ts";

declare module "express-session" {
  interface SessionData {
    user: string;
  }
}

serveParent(async (settings) => {
  const { redisUrl } = z.object({ redisUrl: z.string() }).parse(settings);
  const client = await createClient({ url: redisUrl }).connect();
  const app = express();
  app.disable("x-powered-by");
  app.use(
    session({
      store: new RedisStore({ client }),
      secret: "for benchmarks only",
      resave: false,
      saveUninitialized: false,
    }),
  );
  app.post("/sign-in", (request, response) => {
    request.session.user = "somebody";
    response.json({ ok: true });
  });
  app.get("/check", (request, response) => {
    if (request.session.user === undefined) response.status(401).end();
    else response.json({ user: request.session.user });
  });
  app.post("/sign-out", (request, response) => {
    request.session.destroy((fault: unknown) => response.status(fault ? 500 : 200).json({ ok: !fault }));
  });
  const server = createServer(app);
  const url = await listen(server);

  async function signIn(): Promise<string> {
    const answer = await fetch(`${url}/sign-in`, { method: "POST" });
    return (answer.headers.getSetCookie()[0] ?? "").split(";")[0] ?? "";
  }

  return {
    ready: url,
    async answer(question): Promise<HttpRequest[]> {
      const { what, people } = MakeSessions.parse(question);
      const cookies = await Promise.all(Array.from({ length: people }, signIn));
      return cookies.map((cookie) =>
        what === "revoke"
          ? { method: "POST", path: "/sign-out", headers: { cookie }, expect: '"ok":true' }
          : { method: "GET", path: "/check", headers: { cookie }, expect: '"user":' },
      );
    },
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
      client.destroy();
    },
  };
});
