import { createJwtSigner, generateKey } from "@continuo/access";
import { createLocalJWKSet } from "jose";
import { randomBytes, randomUUID } from "node:crypto";
import { expect, it } from "vitest";
import type { ChainEnds } from "./chain.ts";
import { createHeadSigner, openHead } from "./head.ts";

const keyPair = await generateKey("ES256");
const keys = createLocalJWKSet({ keys: [keyPair.publicJwk] });
const key = createJwtSigner(keyPair.privateJwk);
const ends: ChainEnds = {
  userId: randomUUID(),
  base: { seq: 3, hash: randomBytes(32) },
  head: { seq: 9, hash: randomBytes(32) },
};
const at = new Date("2026-11-24T06:00:00Z");
const sign = createHeadSigner({ keys: { current: async () => key }, issuer: "https://continuo.test" });

it("a signed head says whose chain ended where, and when", async () => {
  expect(await openHead(await sign(ends, at), keys)).toEqual({ ...ends, issuer: "https://continuo.test", at });
});

it("nothing passes for a head that another key signed, that is of another type, or that says less", async () => {
  const [, payload = ""] = (await sign(ends, at)).split(".");
  const claims: Record<string, unknown> = JSON.parse(Buffer.from(payload, "base64url").toString());
  expect(await openHead(key.sign("continuo-audit-head+jwt", claims), keys)).toBeDefined();
  expect(await openHead(key.sign("at+jwt", claims), keys)).toBeUndefined();
  expect(await openHead(key.sign("continuo-audit-head+jwt", { ...claims, hash: "" }), keys)).toBeUndefined();
  const stranger = createJwtSigner((await generateKey("ES256")).privateJwk);
  expect(await openHead(stranger.sign("continuo-audit-head+jwt", claims), keys)).toBeUndefined();
  expect(await openHead("no jws", keys)).toBeUndefined();
});
