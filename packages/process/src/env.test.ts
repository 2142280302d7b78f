import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { envTypes, EnvError, loadEnv } from "./index.ts";

const Env = z.object({
  PORT: envTypes.port.default(4000),
  DATABASE_URL: envTypes.postgresUrl,
  MASTER_KEY: envTypes.secret256,
  GATEWAY_PUBLIC_KEY: envTypes.publicJwk,
  REDIS_URL: envTypes.redisUrl,
  LOG_LEVEL: envTypes.logLevel,
  MODE: envTypes.mode,
});
const pair = generateKeyPairSync("ed25519");
const complete = {
  DATABASE_URL: "postgresql://continuo_session:secret-word@127.0.0.1:5432/continuo",
  MASTER_KEY: Buffer.alloc(32, 7).toString("base64url"),
  GATEWAY_PUBLIC_KEY: JSON.stringify({ ...pair.publicKey.export({ format: "jwk" }), kid: "one" }),
};

describe("an environment", () => {
  test("becomes typed configuration, with defaults for what is unset or empty", () => {
    const env = loadEnv(Env, { ...complete, PORT: "", REDIS_URL: undefined, HOME: "/home/ada" });
    expect(env).toMatchObject({ PORT: 4000, LOG_LEVEL: "info", MODE: "production" });
    expect(env).not.toHaveProperty("HOME");
    expect(env.MASTER_KEY).toEqual(Buffer.alloc(32, 7));
    expect(env.GATEWAY_PUBLIC_KEY.kid).toBe("one");
  });

  test("that is wrong in several ways says all of them at once, and repeats no value", () => {
    const wrong = {
      PORT: "70000",
      DATABASE_URL: "mysql://root:hunter2@db/continuo",
      MASTER_KEY: "hunter2",
      GATEWAY_PUBLIC_KEY: '{"kty":"OKP","d":"hunter2"',
      MODE: "prod",
    };
    const problem = (): unknown => loadEnv(Env, wrong);
    expect(problem).toThrow(EnvError);
    for (const name of Object.keys(wrong)) expect(problem).toThrow(name);
    expect(problem).not.toThrow("hunter2");
  });

  test.each([
    ["redis://127.0.0.1:6379", true],
    ["rediss://default:pw@cache.example:6380/0", true],
    ["redis://a:6379,redis://b:6379", true],
    ["http://a:6379", false],
    ["redis://a b", false],
    ["redis://a:99999", false],
    ["redis://a:6379,redis://b:99999", false],
    ["redis://a:6379,b:6379", false],
  ])("takes %j for Redis: %s", (url, ok) => {
    expect(envTypes.redisUrl.safeParse(url).success).toBe(ok);
  });

  test.each([
    ["postgresql://ada:pw@db:5432/continuo", true],
    ["postgresql://ada:pw@db:99999/continuo", false],
  ])("takes %j for Postgres: %s", (url, ok) => {
    expect(envTypes.postgresUrl.safeParse(url).success).toBe(ok);
  });

  test("takes a private key where one signs, a public one where one verifies, and neither in the other's place", () => {
    const text = (key: KeyObject): string => JSON.stringify({ ...key.export({ format: "jwk" }), kid: "one" });
    const [ofPublic, ofPrivate] = [text(pair.publicKey), text(pair.privateKey)];
    const takes = (type: typeof envTypes.publicJwk): boolean[] =>
      [ofPublic, ofPrivate, '{"kty":"OKP","kid":"one"}', ofPrivate.slice(0, -1)].map(
        (key) => type.safeParse(key).success,
      );
    expect(takes(envTypes.publicJwk)).toEqual([true, false, false, false]);
    expect(takes(envTypes.privateJwk)).toEqual([false, true, false, false]);
  });

  test.each([
    ["https://auth.example", true],
    ["https://auth.example/", true],
    ["http://127.0.0.1:4000/tenant/one.a_b~c-d/", true],
    ["https://auth.example?tenant=one", false],
    ["https://auth.example/tenant#one", false],
    ["https://auth.example/tenant:one", false],
    ["https://auth.example//tenant", false],
    ["https://auth.example/t%65nant", false],
    ["https://auth.example:port", false],
    ["auth.example", false],
    ["urn:example", false],
  ])("takes %j for an issuer: %s", (url, ok) => {
    expect(envTypes.issuer.safeParse(url).success).toBe(ok);
  });

  test.each([["A".repeat(42)], ["A".repeat(44)], ["+".repeat(43)], [""]])(
    "takes no secret but 256 bits in base64url: %j",
    (text) => {
      expect(envTypes.secret256.safeParse(text).success).toBe(false);
    },
  );
});
