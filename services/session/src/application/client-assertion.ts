/**
 * The assertion by which a client authenticates: private_key_jwt (RFC 7523 section 3, OpenID Connect Core 1.0 section
 * 9). Replay is not detected here: that needs storage which all replicas share.
 */
import { DPOP_CLOCK_SECONDS, SIGNATURE_ALGORITHMS } from "@continuo/access";
import { createLocalJWKSet, decodeJwt, jwtVerify } from "jose";
import { z } from "zod";
import type { ClientKeys } from "./client-keys.ts";

/** The only `client_assertion_type` (RFC 7523 section 2.2). */
export const CLIENT_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/** The furthest ahead of our clock that an assertion may expire. Seconds. */
const ASSERTION_LIFE_SECONDS = 300;

const MAX_LENGTH = 4_096;

/**
 * The explicit type (RFC 7523bis section 4), or plain JWT as older clients send; no other type that the key may have
 * signed.
 */
const TYPE = /^(application\/)?(client-authentication\+jwt|jwt)$/i;

/** A valid assertion: the client, the `jti` that makes it single-use, and until when to remember that. */
export interface ClientAssertion {
  readonly clientId: string;
  readonly jti: string;
  readonly goodUntil: Date;
}

/** The unverified `sub`, which selects the keys to verify with; undefined when it is no assertion. */
export function claimedBy(assertion: string): string | undefined {
  if (assertion.length > MAX_LENGTH) return undefined;
  try {
    return z.string().parse(decodeJwt(assertion).sub);
  } catch {
    return undefined;
  }
}

/**
 * Verifies an assertion with the keys of `clientId`. Its only audience must be `issuer`, this installation, so an
 * assertion made for another server is refused (RFC 7523bis section 4). Throws with the reason when it is not valid.
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
