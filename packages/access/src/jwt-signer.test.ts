import { decodeProtectedHeader, importJWK, jwtVerify } from "jose";
import { expect, it } from "vitest";
import { createJwtSigner } from "./jwt-signer.ts";
import { generateKey } from "./keys.ts";

it.each(["ES256", "Ed25519"] as const)(
  "what it signs with %s, jose verifies, and what was changed it does not",
  async (alg) => {
    const { privateJwk, publicJwk } = await generateKey(alg);
    const token = createJwtSigner(privateJwk).sign("sample+jwt", { sub: "Åsa 🌍", n: 1 });
    expect(decodeProtectedHeader(token)).toEqual({ alg, typ: "sample+jwt", kid: publicJwk.kid });
    const key = await importJWK(publicJwk, alg);
    const { payload } = await jwtVerify(token, key, { typ: "sample+jwt", algorithms: [alg] });
    expect(payload).toEqual({ sub: "Åsa 🌍", n: 1 });
    const changed = token.replace(/\.[^.]+\./, `.${Buffer.from('{"sub":"other"}').toString("base64url")}.`);
    await expect(jwtVerify(changed, key)).rejects.toThrow("signature verification failed");
  },
);

it("takes no key that is public, or of another kind", async () => {
  const { publicJwk } = await generateKey("ES256");
  expect(() => createJwtSigner(publicJwk)).toThrow(/key/i);
  expect(() => createJwtSigner({ kty: "oct", kid: "k", k: "c2VjcmV0" })).toThrow(/key/i);
});
