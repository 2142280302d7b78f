import { generateKeyPairSync } from "node:crypto";
import { calculateJwkThumbprint } from "jose";
import { describe, expect, it } from "vitest";
import { ClientKeys } from "./client-keys.ts";

const pair = generateKeyPairSync("ec", { namedCurve: "P-256" });
const jwk = pair.publicKey.export({ format: "jwk" });
const ed25519 = generateKeyPairSync("ed25519").publicKey.export({ format: "jwk" });
const problem = (...keys: unknown[]): string => ClientKeys.safeParse({ keys }).error?.issues[0]?.message ?? "none";

describe("a client's keys", () => {
  it("are ES256 or Ed25519, each under its own name or its thumbprint, and nothing else is kept of them", async () => {
    const given = [
      { ...jwk, kid: "of-today", use: "sig", key_ops: ["verify"], alg: "ES256", x5c: ["…"] },
      { ...ed25519, "example.com/owner": "me" },
    ];
    expect(ClientKeys.parse({ keys: given, "example.com/more": 1 })).toEqual({
      keys: [
        { ...jwk, kid: "of-today", use: "sig", key_ops: ["verify"], alg: "ES256" },
        { ...ed25519, kid: await calculateJwkThumbprint({ ...ed25519 }) },
      ],
    });
  });

  it.each([
    ["a private key", [pair.privateKey.export({ format: "jwk" })], /private key/],
    ["a secret", [{ kty: "oct", k: "AAAA" }], /private key/],
    ["an RSA key", [generateKeyPairSync("rsa", { modulusLength: 2048 }).publicKey.export({ format: "jwk" })], /./],
    ["a point that is not on the curve", [{ ...jwk, x: "A".repeat(43) }], /not on the curve/],
    ["a key for encryption", [{ ...jwk, use: "enc" }], /sig/],
    ["a key that is for something else", [{ ...jwk, key_ops: ["deriveKey"] }], /verify/],
    ["a key for an algorithm that is not its own", [{ ...jwk, alg: "Ed25519" }], /does not fit/],
    ["a key for an algorithm that is not taken here", [{ ...jwk, alg: "ES384" }], /./],
    ["two of one name", [jwk, jwk], /same kid/],
    ["none", [], /./],
    ["more than ten", Array.from({ length: 11 }, (_, at) => ({ ...jwk, kid: String(at) })), /10/],
  ])("are refused for %s", (_what, keys, why) => {
    const said = problem(...keys);
    expect(said).not.toBe("none");
    expect(said).toMatch(why);
  });

  it("come as a set", () => {
    expect(ClientKeys.safeParse(jwk).success).toBe(false);
    expect(ClientKeys.safeParse(undefined).success).toBe(false);
  });
});
