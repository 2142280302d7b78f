import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createLocalJWKSet, createRemoteJWKSet, importJWK, SignJWT, UnsecuredJWT, type JWTVerifyGetKey } from "jose";
import { describe, expect, test } from "vitest";
import { createAccessTokenVerifier, generateKey, type AccessTokenClaims, type Jwk } from "./index.ts";

const ISSUER = "https://session.example";
const AUDIENCE = "continuo";
const NOW = new Date("2026-11-24T06:00:00.000Z");
const SECONDS = NOW.getTime() / 1000;
const id = (n: number): string => `0199a1c2-0000-7000-8000-00000000000${n}`;

const claims: AccessTokenClaims = {
  iss: ISSUER,
  aud: AUDIENCE,
  sub: id(1),
  client_id: "continuo",
  sid: id(2),
  did: id(3),
  jti: id(4),
  iat: SECONDS,
  exp: SECONDS + 300,
  auth_time: SECONDS - 5,
  acr: "aal1",
  amr: ["pwd"],
  scope: "",
  gid: id(5),
  gen: 1,
  posture: "STRICT" as const,
  uep: 0,
};
const ours = await generateKey("ES256");
const theirs = await generateKey("ES256");

async function mint(
  changes: Record<string, unknown> = {},
  { key = ours.privateJwk, header = {} }: { key?: Jwk; header?: Record<string, unknown> } = {},
): Promise<string> {
  return new SignJWT({ ...claims, ...changes })
    .setProtectedHeader({ alg: "ES256", typ: "at+jwt", kid: key.kid, ...header })
    .sign(await importJWK(key, "ES256"));
}

const local = createLocalJWKSet({ keys: [ours.publicJwk] });
const verifierAt = (now: Date, keys: JWTVerifyGetKey = local) =>
  createAccessTokenVerifier({ issuer: ISSUER, audience: AUDIENCE, keys, now: () => now });

describe("an access token", () => {
  test("of ours gives its claims, also in the long form of its type", async () => {
    expect(await verifierAt(NOW).verify(await mint())).toEqual(claims);
    expect(await verifierAt(NOW).verify(await mint({}, { header: { typ: "application/at+jwt" } }))).toEqual(claims);
  });

  test.each<[string, () => Promise<string>]>([
    ["of another issuer", async () => mint({ iss: "https://evil.example" })],
    ["for another audience", async () => mint({ aud: "billing" })],
    ["of another type", async () => mint({}, { header: { typ: "JWT" } })],
    ["of no type", async () => mint({}, { header: { typ: undefined } })],
    ["signed by a foreign key", async () => mint({}, { key: theirs.privateJwk })],
    [
      "signed by a foreign key under our key's name",
      async () => mint({}, { key: theirs.privateJwk, header: { kid: ours.publicJwk.kid } }),
    ],
    ["that brings its own key", async () => mint({}, { key: theirs.privateJwk, header: { jwk: theirs.publicJwk } })],
    [
      "that says where its key is (jku, x5u)",
      async () => {
        const elsewhere = "https://evil.example/keys";
        return mint({}, { key: theirs.privateJwk, header: { jku: elsewhere, x5u: elsewhere } });
      },
    ],
    ["without a signature (alg none)", async () => new UnsecuredJWT({ ...claims }).encode()],
    [
      "signed with the public key as an HMAC secret",
      async () =>
        new SignJWT({ ...claims })
          .setProtectedHeader({ alg: "HS256", typ: "at+jwt", kid: ours.publicJwk.kid })
          .sign(new TextEncoder().encode(JSON.stringify(ours.publicJwk))),
    ],
    ["that is not valid yet", async () => mint({ nbf: SECONDS + 60 })],
    ["without an expiry", async () => mint({ exp: undefined })],
    ["without a session", async () => mint({ sid: undefined })],
    [
      "whose payload was exchanged",
      async () => {
        const [[header, , signature], [, payload]] = [
          (await mint()).split("."),
          (await mint({ sub: id(9) })).split("."),
        ];
        return [header, payload, signature].join(".");
      },
    ],
    ["that is no token at all", async () => "a.b.c"],
    ["that is empty", async () => ""],
  ])("%s is refused", async (_case, make) => {
    await expect(verifierAt(NOW).verify(await make())).rejects.toMatchObject({
      code: "UNAUTHENTICATED",
      reason: "TOKEN_INVALID",
    });
  });

  test("that does not say which of two keys it is signed by is refused, and no fault of the keys", async () => {
    const both = createLocalJWKSet({ keys: [ours.publicJwk, theirs.publicJwk] });
    const token = await mint({}, { header: { kid: undefined } });
    await expect(verifierAt(NOW, both).verify(token)).rejects.toMatchObject({ reason: "TOKEN_INVALID" });
  });

  test("is good until the very second of its expiry, whether it was seen before or not", async () => {
    let now = NOW;
    const seen = createAccessTokenVerifier({ issuer: ISSUER, audience: AUDIENCE, keys: local, now: () => now });
    const token = await mint();
    await seen.verify(token);
    now = new Date((claims.exp - 1) * 1000 + 999);
    expect(await seen.verify(token)).toEqual(claims);
    now = new Date(claims.exp * 1000);
    const refusal = { code: "UNAUTHENTICATED", reason: "TOKEN_EXPIRED" };
    await expect(seen.verify(token)).rejects.toMatchObject(refusal);
    await expect(verifierAt(now).verify(token)).rejects.toMatchObject(refusal);
  });

  test("is refused with another signature, whether it was seen before or not", async () => {
    const verifier = verifierAt(NOW);
    const token = await mint();
    await verifier.verify(token);
    const signed = token.slice(0, token.lastIndexOf("."));
    for (const signature of ["", "AAAA", "A".repeat(86)])
      await expect(verifier.verify(`${signed}.${signature}`)).rejects.toMatchObject({ reason: "TOKEN_INVALID" });
  });

  test("seen before costs no second look at the keys", async () => {
    let looks = 0;
    const verifier = verifierAt(NOW, async (header, jws) => {
      looks += 1;
      return local(header, jws);
    });
    const token = await mint();
    await verifier.verify(token);
    await verifier.verify(token);
    expect(looks).toBe(1);
    await verifier.verify(await mint({ jti: id(8) }));
    expect(looks).toBe(2);
  });
});

describe("signing keys that cannot be read", () => {
  const unavailable = { code: "UNAVAILABLE", reason: "KEYS_UNAVAILABLE" };

  test.each([
    ["answers 503", 503, "busy"],
    ["answers something else", 200, "<html>"],
  ])("because their server %s are our trouble, not the token's", async (_case, status, body) => {
    await using server = createServer((_request, response) => void response.writeHead(status).end(body)).listen(
      0,
      "127.0.0.1",
    );
    await new Promise((resolve) => server.once("listening", resolve));
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a listening TCP server has one
    const { port } = server.address() as AddressInfo;
    const keys = createRemoteJWKSet(new URL(`http://127.0.0.1:${port}/jwks.json`));
    await expect(verifierAt(NOW, keys).verify(await mint())).rejects.toMatchObject(unavailable);
    await expect(verifierAt(NOW, keys).verify("a.b.c")).rejects.toMatchObject({ reason: "TOKEN_INVALID" });
  });

  test("because nobody listens there are our trouble too", async () => {
    const keys = createRemoteJWKSet(new URL("http://127.0.0.1:1/jwks.json"));
    await expect(verifierAt(NOW, keys).verify(await mint())).rejects.toMatchObject(unavailable);
  });
});

test("a token whose verification was under way when the keys changed is verified again by the new ones", async () => {
  const asked = Promise.withResolvers<void>();
  const answer = Promise.withResolvers<void>();
  let keys = local;
  const verifier = verifierAt(NOW, async (header, jws) => {
    const former = keys;
    asked.resolve();
    await answer.promise;
    return former(header, jws);
  });
  const token = await mint();
  const under = verifier.verify(token);
  await asked.promise;
  keys = createLocalJWKSet({ keys: [theirs.publicJwk] });
  verifier.forget();
  answer.resolve();
  await under;
  await expect(verifier.verify(token)).rejects.toMatchObject({ reason: "TOKEN_INVALID" });
});
