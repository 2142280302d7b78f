import { describe, expect, it } from "vitest";
import { loadEnv } from "./env.ts";

const JWK = JSON.stringify({ kty: "OKP", crv: "Ed25519", x: "x", kid: "k" });
const complete = {
  GATEWAY_PRIVATE_KEY: JWK,
  IDENTITY_URL: "http://127.0.0.1:4101",
  SESSION_URL: "http://127.0.0.1:4102",
  USER_STATE_URL: "http://127.0.0.1:4103",
  TOKEN_ISSUER: "https://api.example.com",
  REDIS_URL: "redis://127.0.0.1:6379",
};

describe("a gateway in production", () => {
  it("does not start without PUBLIC_URL: what it listens on is not what proofs of keys name", () => {
    expect(() => loadEnv(complete)).toThrow(expect.objectContaining({ code: "E_ENV_INVALID" }));
    expect(() => loadEnv(complete)).toThrow("set PUBLIC_URL in production");
    expect(loadEnv({ ...complete, PUBLIC_URL: "https://api.example.com/" }).PUBLIC_URL).toBe("https://api.example.com");
  });

  it("takes where it listens while it is developed", () => {
    expect(loadEnv({ ...complete, MODE: "development" }).PUBLIC_URL).toBeUndefined();
  });
});
