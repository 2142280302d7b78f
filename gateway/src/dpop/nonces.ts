/**
 * Nonces for DPoP proofs (RFC 9449 section 8): the same for all clients and replicas, new every minute. Stateless: a
 * nonce is an HMAC of the minute, under a key derived from the gateway's private key.
 */
import type { Jwk } from "@continuo/access";
import { createHmac, hkdfSync, timingSafeEqual } from "node:crypto";

const BUCKET_MS = 60_000;

/** Upper bound on how long a nonce is accepted after it was issued. Milliseconds. */
export const NONCE_LIFE_MS = 2 * BUCKET_MS;

export interface Nonces {
  /** The nonce of this minute. */
  current(): string;
  /** Whether a nonce belongs to the current minute or the previous one. */
  accepts(nonce: string): boolean;
}

/** `now` is wall-clock milliseconds; replicas must have synchronized clocks. Throws TypeError for a public key. */
export function createNonces({ d }: Jwk, now: () => number = Date.now): Nonces {
  if (d === undefined) throw new TypeError("a private key is needed");
  const key = Buffer.from(hkdfSync("sha256", Buffer.from(d, "base64url"), "", "continuo dpop nonce", 32));
  const made = new Map<number, string>();

  function nonceOf(bucket: number): string {
    const known = made.get(bucket);
    if (known !== undefined) return known;
    if (made.size > 2) made.clear();
    const nonce = createHmac("sha256", key).update(String(bucket)).digest("base64url");
    made.set(bucket, nonce);
    return nonce;
  }

  const bucketNow = (): number => Math.floor(now() / BUCKET_MS);
  return {
    current: () => nonceOf(bucketNow()),
    accepts: (nonce) => [bucketNow(), bucketNow() - 1].some((bucket) => equal(nonce, nonceOf(bucket))),
  };
}

function equal(given: string, expected: string): boolean {
  const [left, right] = [Buffer.from(given), Buffer.from(expected)];
  return left.length === right.length && timingSafeEqual(left, right);
}
