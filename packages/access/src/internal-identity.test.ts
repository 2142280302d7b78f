import { importJWK, SignJWT } from "jose";
import { describe, expect, test, vi } from "vitest";
import { createGrantSigner, createIdentitySigner, createIdentityVerifier, generateKey, type Caller } from "./index.ts";

const id = (n: number): string => `0199a1c2-0000-7000-8000-00000000000${n}`;
const ours = await generateKey("Ed25519");
const theirs = await generateKey("Ed25519");
const verifier = createIdentityVerifier(ours.publicJwk);
const ada: Caller = {
  kind: "viewer",
  viewer: {
    userId: id(1),
    sessionId: id(2),
    deviceId: id(3),
    applicationId: "continuo",
    acr: "aal1",
    amr: ["pwd"],
    authTime: 1_795_500_000,
  },
};

/** A valid identity except for `changes`. */
async function forge(changes: Record<string, unknown>, header: Record<string, unknown> = {}): Promise<string> {
  const seconds = Math.floor(Date.now() / 1000);
  return new SignJWT({
    iss: "continuo-gateway",
    aud: "continuo-subgraphs",
    kind: "anonymous",
    iat: seconds,
    exp: seconds + 60,
    ...changes,
  })
    .setProtectedHeader({ alg: "Ed25519", typ: "continuo-identity+jwt", ...header })
    .sign(await importJWK(ours.privateJwk, "Ed25519"));
}

describe("the internal identity", () => {
  test.each<[string, Caller]>([
    ["a person", ada],
    ["a person, by a key, from somewhere", { ...ada, jkt: "thumbprint", ipPrefix: "192.0.2.0/24" }],
    ["nobody in particular", { kind: "anonymous" }],
    ["all who use an application", { kind: "application", applicationId: "continuo" }],
    ["a service", { kind: "service", name: "gateway" }],
  ])("of %s arrives as it was sent, and again when it is used again", async (_case, caller) => {
    const statement = await createIdentitySigner(ours.privateJwk).sign(caller);
    expect(await verifier.verify(statement)).toEqual(caller);
    expect(await verifier.verify(statement)).toEqual(caller);
  });

  test("is signed once for callers who are the same in every respect, and anew for any other", async () => {
    const signer = createIdentitySigner(ours.privateJwk);
    expect(await signer.sign({ ...ada })).toBe(await signer.sign(ada));
    for (const change of [
      { userId: id(9) },
      { deviceId: id(9) },
      { applicationId: "bank" },
      { acr: "aal2" },
      { amr: ["pwd", "otp"] },
      { authTime: 7 },
      { stepUpSeconds: 60 },
    ]) {
      const other: Caller = { kind: "viewer", viewer: { ...ada.viewer, ...change } };
      expect(await verifier.verify(await signer.sign(other))).toEqual(other);
    }
    for (const caller of [ada, { kind: "anonymous" } as const])
      for (const circumstance of [{ jkt: "one" }, { jkt: "another" }, { ipPrefix: "192.0.2.0/24" }, {}]) {
        const other: Caller = { ...caller, ...circumstance };
        expect(await verifier.verify(await signer.sign(other))).toEqual(other);
      }
  });

  test("is refused with another signature, also where it has been seen before", async () => {
    const statement = await createIdentitySigner(ours.privateJwk).sign(ada);
    await verifier.verify(statement);
    const forged = `${statement.slice(0, statement.lastIndexOf("."))}.${"A".repeat(86)}`;
    await expect(verifier.verify(forged)).rejects.toMatchObject({ reason: "INTERNAL_IDENTITY_REQUIRED" });
  });

  test("is good for a minute, also where it has been seen before", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    try {
      const statement = await createIdentitySigner(ours.privateJwk).sign(ada);
      expect(await verifier.verify(statement)).toEqual(ada);
      vi.setSystemTime(Date.now() + 61_000);
      await expect(verifier.verify(statement)).rejects.toMatchObject({ reason: "INTERNAL_IDENTITY_REQUIRED" });
    } finally {
      vi.useRealTimers();
    }
  });

  test("is used again for half a minute and no longer, so that it has as long to go whenever it is sent", async () => {
    vi.useFakeTimers();
    try {
      const signer = createIdentitySigner(ours.privateJwk);
      const statement = await signer.sign(ada);
      vi.advanceTimersByTime(30_000);
      expect(await signer.sign(ada)).toBe(statement);
      vi.advanceTimersByTime(1);
      expect(await signer.sign(ada)).not.toBe(statement);
    } finally {
      vi.useRealTimers();
    }
  });

  test("made by hand but right passes, so that each forgery below fails for its own fault alone", async () => {
    expect(await verifier.verify(await forge({}))).toEqual({ kind: "anonymous" });
  });

  test.each<[string, () => Promise<string | undefined>]>([
    ["that is missing", async () => undefined],
    ["that is empty", async () => ""],
    ["in clear", async () => JSON.stringify({ kind: "service", sub: "gateway" })],
    ["of another key", async () => createIdentitySigner(theirs.privateJwk).sign(ada)],
    ["of another issuer", async () => forge({ iss: "continuo-identity" })],
    ["for another audience", async () => forge({ aud: "continuo-session" })],
    ["of another type", async () => forge({}, { typ: "JWT" })],
    ["that has expired", async () => forge({ exp: Math.floor(Date.now() / 1000) - 1 })],
    ["without an expiry", async () => forge({ exp: undefined })],
    ["of a kind we do not know", async () => forge({ kind: "root" })],
    ["of a person without a session", async () => forge({ kind: "viewer", sub: id(1) })],
    [
      "that is a grant",
      async () =>
        createGrantSigner(ours.privateJwk).sign(
          { jti: id(1), sub: id(2), acr: "aal1", amr: ["pwd"], auth_time: 0 },
          new Date(),
        ),
    ],
  ])("%s is refused", async (_case, make) => {
    await expect(verifier.verify(await make())).rejects.toMatchObject({
      code: "UNAUTHENTICATED",
      reason: "INTERNAL_IDENTITY_REQUIRED",
    });
  });
});
