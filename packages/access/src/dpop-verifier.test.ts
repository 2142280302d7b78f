import { calculateThumbprint, generateKeyPair, generateProof } from "dpop";
import { exportJWK, SignJWT, type JWK } from "jose";
import { createHash, generateKeyPairSync, randomUUID, sign } from "node:crypto";
import { describe, expect, test } from "vitest";
import { createDpopVerifier, type DpopProof, type ProvenRequest } from "./dpop-verifier.ts";

const URL = "https://api.example.com/graphql";
const TOKEN = "an.access.token";
const OUR_NONCE = "nonce-of-this-minute";
const NOW = 1_790_000_000;

const verifier = createDpopVerifier({ acceptsNonce: (nonce) => nonce === OUR_NONCE, now: () => NOW * 1000 });
const pair = await generateKeyPair("ES256", { extractable: true });
const jwk = await exportJWK(pair.publicKey);
const jkt = await calculateThumbprint(pair.publicKey);
const okp = generateKeyPairSync("ed25519").publicKey.export({ format: "jwk" });

function verify(proof: string, request: Partial<ProvenRequest> = {}): DpopProof {
  return verifier.verify({ method: "POST", url: URL, proof, ...request });
}

/** A valid proof except for the test's changes; `undefined` omits a member. */
function proofWith(
  change: { header?: Record<string, unknown>; claims?: Record<string, unknown>; jwk?: JWK } = {},
): Promise<string> {
  const claims = { jti: randomUUID(), htm: "POST", htu: URL, iat: NOW, ...change.claims };
  const header = { alg: "ES256", typ: "dpop+jwt", jwk: change.jwk ?? jwk, ...change.header };
  return new SignJWT(claims).setProtectedHeader(header).sign(pair.privateKey);
}

/** Has no real signature: for checks that precede the signature. */
function unsigned(header: object, claims: object = { jti: "1", htm: "POST", htu: URL, iat: NOW }): string {
  return [...[header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")), "AAAA"].join(".");
}

const refusedAs = (check: string): object => ({
  code: "UNAUTHENTICATED",
  reason: "DPOP_PROOF_INVALID",
  details: { check },
});

describe("a good proof", () => {
  test.each(["ES256", "Ed25519"] as const)("of %s by a stock client is good", async (alg) => {
    const stock = await generateKeyPair(alg);
    const live = createDpopVerifier({ acceptsNonce: () => true });
    const proof = await generateProof(stock, URL, "POST", "any", TOKEN);
    const thumbprint = await calculateThumbprint(stock.publicKey);
    const accessToken = { value: TOKEN, jkt: thumbprint };
    for (const _ of ["first", "with the key known"])
      expect(live.verify({ method: "POST", url: URL, proof, accessToken })).toMatchObject({
        jkt: thumbprint,
        hasNonce: true,
      });
  });

  test("may name Ed25519 by its older name", () => {
    const { privateKey, publicKey } = generateKeyPairSync("ed25519");
    const header = { alg: "EdDSA", typ: "dpop+jwt", jwk: publicKey.export({ format: "jwk" }) };
    const [head, body] = unsigned(header).split(".");
    const signature = sign(null, Buffer.from(`${head}.${body}`), privateKey).toString("base64url");
    expect(verify(`${head}.${body}.${signature}`)).toMatchObject({ jti: "1", hasNonce: false });
  });

  test("is the one of RFC 9449 section 4.2", () => {
    const then = createDpopVerifier({ acceptsNonce: () => false, now: () => 1_562_262_616_000 });
    const proof =
      "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";
    expect(then.verify({ method: "POST", url: "https://server.example.com/token", proof })).toEqual({
      jkt: "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I",
      jti: "-BwC3ESc6acc2lTc",
      hasNonce: false,
    });
  });

  test("is the one of RFC 9449 section 7.1, with its access token", () => {
    const then = createDpopVerifier({ acceptsNonce: () => false, now: () => 1_562_262_618_000 });
    const proof =
      "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";
    const request = {
      method: "GET",
      url: "https://resource.example.org/protectedresource",
      proof,
      accessToken: {
        value: "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU",
        jkt: "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I",
      },
    };
    expect(then.verify(request).jti).toBe("e1j3V_bKic8-LAEB");
  });

  test.each([
    ["https://API.example.com:443/graphql"],
    ["HTTPS://api.example.com/./x/../graphql"],
    ["https://api.example.com/%67raph%71l"],
    ["https://api.example.com/graphql?query=1#top"],
  ])("may write the address as %s", async (htu) => {
    expect(verify(await proofWith({ claims: { htu } })).jkt).toBe(jkt);
  });

  test("is dated by our nonce, whatever the client's clock says", async () => {
    const proof = await proofWith({ claims: { nonce: OUR_NONCE, iat: NOW - 86_400 } });
    expect(verify(proof)).toMatchObject({ jkt, hasNonce: true });
  });

  test.each([-60, 60])("may be %i seconds off our clock without a nonce", async (seconds) => {
    expect(verify(await proofWith({ claims: { iat: NOW + seconds } })).hasNonce).toBe(false);
  });
});

describe("RFC 9449 section 4.3 refuses", () => {
  test("1: more than one DPoP header", async () => {
    const one = await proofWith();
    expect(() => verify(`${one}, ${one}`)).toThrow(expect.objectContaining(refusedAs("header")));
  });
  test.each([
    ["nothing", ""],
    ["two parts", "e30.e30"],
    ["a JWE's five parts", "e30.e30.e30.e30.e30"],
    ["what is not base64url", "e30=.e30=.e30="],
    ["what is not JSON", "AAAA.AAAA.AAAA"],
  ])("2: %s, which is not a well-formed JWT", (_, proof) => {
    expect(() => verify(proof)).toThrow(expect.objectContaining(refusedAs("jwt")));
  });
  test("2: a proof of more than 4,096 characters, however good", async () => {
    const proof = await proofWith({ claims: { padding: "x".repeat(4_096) } });
    expect(() => verify(proof)).toThrow(expect.objectContaining(refusedAs("jwt")));
  });
  test.each(["jti", "htm", "htu", "iat"])("3: a proof without %s", async (name) => {
    const proof = await proofWith({ claims: { [name]: undefined } });
    expect(() => verify(proof)).toThrow(expect.objectContaining(refusedAs("claims")));
  });
  test.each([
    ["without typ", { alg: "ES256", jwk }],
    ["without jwk", { alg: "ES256", typ: "dpop+jwt" }],
    ["with critical extensions", { alg: "ES256", typ: "dpop+jwt", jwk, crit: ["b64"], b64: false }],
  ])("3: a proof %s", (_, header) => {
    expect(() => verify(unsigned(header))).toThrow(expect.objectContaining(refusedAs("claims")));
  });
  test.each([
    ["an empty jti", ""],
    ["a jti of 129 characters", "x".repeat(129)],
  ])("3: %s", async (_, jti) => {
    const proof = await proofWith({ claims: { jti } });
    expect(() => verify(proof)).toThrow(expect.objectContaining(refusedAs("claims")));
  });
  test.each(["JWT", "at+jwt", "DPOP+JWT"])("4: typ %s", async (typ) => {
    const proof = await proofWith({ header: { typ } });
    expect(() => verify(proof)).toThrow(expect.objectContaining(refusedAs("typ")));
  });
  test.each(["none", "HS256", "RS256", "ES384", "es256", ""])("5: alg %j", (alg) => {
    for (const key of [jwk, okp])
      expect(() => verify(unsigned({ alg, typ: "dpop+jwt", jwk: key }))).toThrow(
        expect.objectContaining(refusedAs("alg")),
      );
  });
  test("5: an algorithm that does not fit the key", () => {
    for (const header of [
      { alg: "ES256", typ: "dpop+jwt", jwk: okp },
      { alg: "Ed25519", typ: "dpop+jwt", jwk },
    ])
      expect(() => verify(unsigned(header))).toThrow(expect.objectContaining(refusedAs("alg")));
  });
  test("6: a proof that another key signed", async () => {
    const other = await exportJWK((await generateKeyPair("ES256", { extractable: true })).publicKey);
    const proof = await proofWith({ jwk: other });
    expect(() => verify(proof)).toThrow(expect.objectContaining(refusedAs("signature")));
  });
  test("6: claims that were changed after signing", async () => {
    const [head, , signature] = (await proofWith()).split(".");
    const body = Buffer.from(JSON.stringify({ jti: "other", htm: "POST", htu: URL, iat: NOW })).toString("base64url");
    expect(() => verify(`${head}.${body}.${signature}`)).toThrow(expect.objectContaining(refusedAs("signature")));
  });
  test("6: a signature in DER or cut short", async () => {
    const [head, body, signature = ""] = (await proofWith()).split(".");
    const der = sign("sha256", Buffer.from(`${head}.${body}`), {
      key: await exportJWK(pair.privateKey),
      format: "jwk",
    }).toString("base64url");
    for (const bad of [der, signature.slice(0, 40)])
      expect(() => verify(`${head}.${body}.${bad}`)).toThrow(expect.objectContaining(refusedAs("signature")));
  });
  test("7: a key with its private part", async () => {
    const proof = await proofWith({ jwk: await exportJWK(pair.privateKey) });
    expect(() => verify(proof)).toThrow(expect.objectContaining(refusedAs("jwk")));
  });
  test.each([
    ["a symmetric key", { kty: "oct", k: "AAAA" }],
    ["an RSA key", generateKeyPairSync("rsa", { modulusLength: 2048 }).publicKey.export({ format: "jwk" })],
    ["a P-384 key", generateKeyPairSync("ec", { namedCurve: "P-384" }).publicKey.export({ format: "jwk" })],
    ["a point that is not on the curve", { ...jwk, x: "A".repeat(43) }],
  ])("7: %s", (_, key) => {
    expect(() => verify(unsigned({ alg: "ES256", typ: "dpop+jwt", jwk: key }))).toThrow(
      expect.objectContaining(refusedAs("jwk")),
    );
  });
  test.each(["GET", "post"])("8: htm %s for a POST", async (htm) => {
    const proof = await proofWith({ claims: { htm } });
    expect(() => verify(proof)).toThrow(expect.objectContaining(refusedAs("htm")));
  });
  test.each([
    "http://api.example.com/graphql",
    "https://api.example.com:8443/graphql",
    "https://evil.example.com/graphql",
    "https://api.example.com/graphql/",
    "https://api.example.com/GraphQL",
    "https://api.example.com/x%2f..%2fgraphql",
    "https://user@api.example.com/graphql",
    "/graphql",
    "",
  ])("9: htu %j", async (htu) => {
    const proof = await proofWith({ claims: { htu } });
    expect(() => verify(proof)).toThrow(expect.objectContaining(refusedAs("htu")));
  });
  test("10: a nonce that is not ours (any more), and asks for ours", async () => {
    const proof = await proofWith({ claims: { nonce: "of-last-week" } });
    expect(() => verify(proof)).toThrow(expect.objectContaining({ reason: "DPOP_NONCE_REQUIRED" }));
  });
  test.each([-61, 61])("11: iat %i seconds off our clock, and asks for a nonce instead", async (seconds) => {
    const proof = await proofWith({ claims: { iat: NOW + seconds } });
    expect(() => verify(proof)).toThrow(
      expect.objectContaining({ reason: "DPOP_NONCE_REQUIRED", details: { check: "iat" } }),
    );
  });
  test("12: a proof for another access token, or for none", async () => {
    const accessToken = { value: TOKEN, jkt };
    for (const ath of [undefined, createHash("sha256").update("another").digest("base64url")]) {
      const proof = await proofWith({ claims: { ath } });
      expect(() => verify(proof, { accessToken })).toThrow(expect.objectContaining(refusedAs("ath")));
    }
  });
  test("12: a proof by another key than the one that the token is bound to", async () => {
    const thief = await generateKeyPair("ES256");
    const live = createDpopVerifier({ acceptsNonce: () => true });
    const proof = await generateProof(thief, URL, "POST", undefined, TOKEN);
    expect(() => live.verify({ method: "POST", url: URL, proof, accessToken: { value: TOKEN, jkt } })).toThrow(
      expect.objectContaining(refusedAs("jkt")),
    );
  });
});
