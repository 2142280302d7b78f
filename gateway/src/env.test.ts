import { generateKey } from "@continuo/access";
import { describe, expect, it } from "vitest";
import { loadEnv, subgraphUrlsOf, subgraphUrlVariables, supergraphFilesOf } from "./env.ts";

const { privateJwk } = await generateKey("Ed25519");
const complete = {
  GATEWAY_PRIVATE_KEY: JSON.stringify(privateJwk),
  ...subgraphUrlVariables((name) => `http://${name}.test`),
  TOKEN_ISSUER: "https://api.example.com",
  REDIS_URL: "redis://127.0.0.1:6379",
};

describe("a gateway in production", () => {
  it("does not start without PUBLIC_URL: what it listens on is not what proofs of keys name", () => {
    expect(() => loadEnv(complete)).toThrow(expect.objectContaining({ code: "E_ENV_INVALID" }));
    expect(() => loadEnv(complete)).toThrow("set PUBLIC_URL in production");
    expect(loadEnv({ ...complete, PUBLIC_URL: "https://api.example.com/" }).PUBLIC_URL).toBe("https://api.example.com");
  });

  it("is told where each subgraph of its supergraph is", () => {
    expect(() => loadEnv({ ...complete, MODE: "development", IDENTITY_URL: "" })).toThrow("IDENTITY_URL");
    const env = loadEnv({ ...complete, MODE: "development", USER_STATE_URL: "http://elsewhere:4103/" });
    expect(subgraphUrlsOf(env).get("user-state")).toBe("http://elsewhere:4103");
  });

  it("takes where it listens while it is developed", () => {
    expect(loadEnv({ ...complete, MODE: "development" }).PUBLIC_URL).toBeUndefined();
  });
});

describe("the supergraph", () => {
  const filesOf = (more: Record<string, string>): unknown =>
    supergraphFilesOf(loadEnv({ ...complete, MODE: "development", ...more }));

  it("is the release's own, which does not change", () => {
    const own = { file: expect.stringMatching(/gateway\/supergraph\.graphql$/), lastGoodFile: undefined, watch: false };
    expect(filesOf({})).toEqual(own);
  });

  it("is that of a file, with a copy beside it or elsewhere", () => {
    const given = { file: "/etc/graph", watch: true };
    expect(filesOf({ SUPERGRAPH_FILE: "/etc/graph" })).toEqual({ ...given, lastGoodFile: "/etc/graph.last-good" });
    expect(filesOf({ SUPERGRAPH_FILE: "/etc/graph", SUPERGRAPH_LAST_GOOD: "/var/copy" })).toEqual({
      ...given,
      lastGoodFile: "/var/copy",
    });
  });
});
