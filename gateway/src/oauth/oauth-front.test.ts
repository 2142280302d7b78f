import Fastify from "fastify";
import { expect, it } from "vitest";
import type { SubgraphClient } from "../subgraph/subgraph-client.ts";
import { serveOAuth } from "./oauth-front.ts";

it.each<[string, SubgraphClient["graphql"]]>([
  ["fails", () => Promise.reject(new Error("connect 10.0.0.7:5432 as session"))],
  [
    "answers something else",
    async () => ({ data: { answerOAuth: { status: "10.0.0.7" } }, errors: [], failed: false }),
  ],
  ["answers nothing", async () => ({ data: null, errors: [], failed: true })],
])(
  "says of a session subgraph that %s no more than that it is our fault (RFC 6749 section 5.2)",
  async (_how, graphql) => {
    await using http = Fastify();
    await serveOAuth(http, {
      session: { graphql },
      proofs: { check: () => Promise.reject(new Error("no proof")) },
      issuer: "https://continuo.test",
      publicUrl: () => "https://continuo.test",
      keysPath: "/jwks",
      rates: { operation: async () => undefined },
      networkOf: () => undefined,
    });
    const headers = { "content-type": "application/x-www-form-urlencoded" };
    for (const url of ["/oauth/token", "/oauth/revoke", "/oauth/introspect"]) {
      const answer = await http.inject({ method: "POST", url, headers, payload: "token=x" });
      expect([answer.statusCode, answer.json()]).toEqual([
        500,
        { error: "server_error", error_description: "UNEXPECTED: Something went wrong on our side." },
      ]);
    }
  },
);
