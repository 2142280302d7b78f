/**
 * What a client signs to say who it is: private_key_jwt (RFC 7523 section 3, OpenID Connect Core 1.0 section 9).
 * Whether one was used before is not judged here: that takes a memory which all replicas share.
 */
import { DPOP_CLOCK_SECONDS, SIGNATURE_ALGORITHMS } from "@continuo/access";
import { createLocalJWKSet, decodeJwt, jwtVerify } from "jose";
import { z } from "zod";
import type { ClientKeys } from "./client-keys.ts";

/** The only `client_assertion_type` (RFC 7523 section 2.2). */
export const CLIENT_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/** How far ahead of our clock an assertion may expire, so that none is good for long. Seconds. */
const ASSERTION_LIFE_SECONDS = 300;

const MAX_LENGTH = 4_096;

/** Explicitly typed (RFC 7523bis section 4), or as clients did before; never something else that the key has signed. */
const TYPE = /^(application\/)?(client-authentication\+jwt|jwt)$/i;

/** A good one: by whom it is, what makes it single-use, and until when that has to be remembered. */
export interface ClientAssertion {
  readonly clientId: string;
  readonly jti: string;
  readonly goodUntil: Date;
}

/** Who it says has signed it, which decides whose keys it is verified with; undefined for what is no assertion. */
export function claimedBy(assertion: string): string | undefined {
  if (assertion.length > MAX_LENGTH) return undefined;
  try {
    return z.string().parse(decodeJwt(assertion).sub);
  } catch {
    return undefined;
  }
}

/**
 * Verifies one with the keys of `clientId`. It is for `issuer`, this installation, and nobody else: what a client signed for
 * another server is of no use here, whatever that server calls itself (RFC 7523bis section 4). Throws why it is not good.
 */
export async function verifyClientAssertion(
  assertion: string,
  { clientId, keys, issuer, now }: { clientId: string; keys: ClientKeys; issuer: string; now: Date },
): Promise<ClientAssertion> {
  const { payload, protectedHeader } = await jwtVerify(assertion, createLocalJWKSet(keys), {
    algorithms: [...SIGNATURE_ALGORITHMS],
    currentDate: now,
    clockTolerance: DPOP_CLOCK_SECONDS,
  });
  if (!TYPE.test(protectedHeader.typ ?? "JWT")) throw new TypeError("typ is not client-authentication+jwt");
  const seconds = now.getTime() / 1_000;
  const { jti, exp } = z
    .object({
      iss: z.literal(clientId),
      sub: z.literal(clientId),
      aud: z.union([z.literal(issuer), z.tuple([z.literal(issuer)])]),
      jti: z.string().min(1).max(128),
      iat: z
        .number()
        .max(seconds + DPOP_CLOCK_SECONDS)
        .optional(),
      exp: z.number().max(seconds + ASSERTION_LIFE_SECONDS),
    })
    .parse(payload);
  return { clientId, jti, goodUntil: new Date((exp + DPOP_CLOCK_SECONDS) * 1_000) };
}
