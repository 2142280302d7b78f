import { createDpopVerifier, generateKey } from "@continuo/access";
import { importJWK, SignJWT } from "jose";
import { expect, it } from "vitest";
import { createMemoryReplayCache } from "../fixtures/memory-replay-cache.ts";
import { createNonces } from "./nonces.ts";
import { assertMayChange, createProofs, type Proof } from "./proofs.ts";

const START = 1_790_000_040_000;
const PUBLIC_URL = "https://api.example.com";
const [gateway, device] = await Promise.all([generateKey("Ed25519"), generateKey("ES256")]);

/** A proof made at START, and everything to check it with. */
async function proven(claims: { iat?: number; isNonced?: boolean } = {}) {
  const clock = { at: START };
  const nonces = createNonces(gateway.privateJwk, () => clock.at);
  const replayCache = createMemoryReplayCache(() => clock.at);
  const proofs = createProofs({
    verifier: createDpopVerifier({ acceptsNonce: (nonce) => nonces.accepts(nonce), now: () => clock.at }),
    replayCache,
    publicUrl: () => PUBLIC_URL,
  });
  const { iat = START / 1_000, isNonced = false } = claims;
  const proof = await new SignJWT({
    jti: "1",
    htm: "POST",
    htu: `${PUBLIC_URL}/graphql`,
    iat,
    ...(isNonced && { nonce: nonces.current() }),
  })
    .setProtectedHeader({ alg: "ES256", typ: "dpop+jwt", jwk: device.publicJwk })
    .sign(await importJWK(device.privateJwk, "ES256"));
  const use = (nonceRequired = false): Promise<Proof> =>
    proofs.check({ method: "POST", path: "/graphql", proof, nonceRequired });
  return { clock, replayCache, use };
}

it.each([
  ["with a nonce", { isNonced: true }],
  ["by a clock that is right", {}],
  ["by a clock that is a minute ahead", { iat: START / 1_000 + 60 }],
])("a proof %s is good once, however soon or late it comes again", async (_which, claims) => {
  const { clock, use } = await proven(claims);
  await use();
  for (; clock.at <= START + 300_000; clock.at += 1_000)
    await expect(use()).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
});

it("while nobody knows what was used before, a proof changes nothing, and reads where a nonce dates it", async () => {
  const [nonced, dated] = [await proven({ isNonced: true }), await proven()];
  for (const { replayCache } of [nonced, dated]) replayCache.isDown = true;
  const unknown = { code: "UNAVAILABLE", reason: "REPLAY_UNKNOWN" };
  await expect(nonced.use(true)).rejects.toMatchObject(unknown);
  await expect(dated.use()).rejects.toMatchObject(unknown);
  const read = await nonced.use();
  expect(read).toMatchObject({ hasNonce: true, isFirstUse: false });
  expect(() => assertMayChange(read)).toThrow(expect.objectContaining(unknown));
});
