/** Checks in the load generator's own process: with the parts of the gateway that admit a caller, or with `jose` each time. */
import { createLocalJWKSet, decodeJwt, jwtVerify } from "jose";
import { randomUUID } from "node:crypto";
import { z } from "zod";
import type { Driver } from "../load-protocol.ts";
import { createAccessTokenVerifier, createAdmissions, createRevocationSet, createStanding } from "../rooms.ts";

const Options = z.object({
  by: z.enum(["ADMISSION", "JOSE"]),
  tokens: z.array(z.string()),
  /** The JWK Set that verifies them, as text. */
  keySet: z.string(),
  /** Number of recently ended sessions. */
  ended: z.number(),
});
const KeySet = z.object({ keys: z.array(z.looseObject({ kty: z.string() })) });
const Claims = z.object({ iss: z.string(), aud: z.string() });

export async function openDriver(options: unknown): Promise<Driver> {
  const { by, tokens, keySet, ended } = Options.parse(options);
  const { iss: issuer, aud: audience } = Claims.parse(decodeJwt(tokens[0] ?? ""));
  const keys = createLocalJWKSet(KeySet.parse(JSON.parse(keySet)));
  const check = by === "JOSE" ? byJose : byAdmission();

  async function byJose(token: string): Promise<void> {
    await jwtVerify(token, keys, { issuer, audience, typ: "at+jwt", algorithms: ["ES256"] });
  }

  function byAdmission(): (token: string) => Promise<void> {
    const revocations = createRevocationSet(() => performance.now());
    for (let count = 0; count < ended; count += 1) revocations.add(randomUUID(), "SIGNED_OUT");
    // A feed that is up to date, as it nearly always is; bearer tokens bring no proof and no ticket.
    const feed = { isCurrent: () => true, ageMs: () => 0, assertCurrent: async () => undefined };
    const unasked = async (): Promise<never> => Promise.reject(new Error("a bearer token needs no more than itself"));
    const admissions = createAdmissions({
      verifier: createAccessTokenVerifier({ issuer, audience, keys }),
      proofs: { check: unasked },
      tickets: { redeem: unasked },
      standing: createStanding({ feed, revocations }),
      rates: { operation: unasked },
    });
    return async (token) => {
      const { caller } = await admissions.admit(`Bearer ${token}`);
      if (caller.kind !== "viewer") throw new Error("nobody was admitted");
    };
  }

  return {
    operate: (worker) => check(tokens[worker % tokens.length] ?? ""),
    [Symbol.asyncDispose]: async () => undefined,
  };
}
