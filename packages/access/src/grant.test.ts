import { importJWK, SignJWT } from "jose";
import { describe, expect, test } from "vitest";
import {
  createGrantSigner,
  createGrantVerifier,
  createIdentitySigner,
  generateKey,
  GRANT_LIFE_SECONDS,
} from "./index.ts";

const NOW = new Date("2026-11-24T06:00:00.000Z");
const SECONDS = NOW.getTime() / 1000;
const later = (seconds: number): Date => new Date(NOW.getTime() + seconds * 1000);
const ours = await generateKey("Ed25519");
const theirs = await generateKey("Ed25519");
const claims = {
  jti: "0199a1c2-0000-7000-8000-000000000001",
  sub: "0199a1c2-0000-7000-8000-000000000002",
  acr: "aal1",
  amr: ["pwd"],
  auth_time: SECONDS,
};
const verifier = createGrantVerifier(ours.publicJwk);

/** A valid grant except for `changes`. */
async function forge(changes: Record<string, unknown>, header: Record<string, unknown> = {}): Promise<string> {
  return new SignJWT({
    iss: "continuo-identity",
    aud: "continuo-session",
    ...claims,
    iat: SECONDS,
    exp: SECONDS + 60,
    ...changes,
  })
    .setProtectedHeader({ alg: "Ed25519", typ: "continuo-grant+jwt", ...header })
    .sign(await importJWK(ours.privateJwk, "Ed25519"));
}

describe("a grant", () => {
  test("says what identity signed", async () => {
    const grant = await createGrantSigner(ours.privateJwk).sign(claims, NOW);
    expect(await verifier.verify(grant, NOW)).toEqual({ epoch: 0, ...claims, exp: SECONDS + GRANT_LIFE_SECONDS });
    const later = await createGrantSigner(ours.privateJwk).sign({ ...claims, epoch: 2 }, NOW);
    expect(await verifier.verify(later, NOW)).toMatchObject({ epoch: 2 });
  });

  test("waits a minute for its session, and no longer", async () => {
    const grant = await createGrantSigner(ours.privateJwk).sign(claims, NOW);
    expect(await verifier.verify(grant, later(59.999))).toMatchObject({ jti: claims.jti });
    await expect(verifier.verify(grant, later(60))).rejects.toMatchObject({
      code: "UNAUTHENTICATED",
      reason: "GRANT_EXPIRED",
    });
  });

  test("made by hand but right passes, so that each forgery below fails for its own fault alone", async () => {
    expect(await verifier.verify(await forge({}), NOW)).toMatchObject(claims);
  });

  test.each<[string, () => Promise<string>]>([
    ["of another key", async () => createGrantSigner(theirs.privateJwk).sign(claims, NOW)],
    ["of another issuer", async () => forge({ iss: "continuo-gateway" })],
    ["for another audience", async () => forge({ aud: "continuo-subgraphs" })],
    ["of another type", async () => forge({}, { typ: "JWT" })],
    ["without an id to use once", async () => forge({ jti: undefined })],
    ["without a method", async () => forge({ amr: [] })],
    ["without an expiry", async () => forge({ exp: undefined })],
    ["that is an internal identity", async () => createIdentitySigner(ours.privateJwk).sign({ kind: "anonymous" })],
    ["that is no grant at all", async () => "grant"],
  ])("%s is refused", async (_case, make) => {
    await expect(verifier.verify(await make(), NOW)).rejects.toMatchObject({
      code: "UNAUTHENTICATED",
      reason: "GRANT_INVALID",
    });
  });
});
