/**
 * Keys that sign access tokens, and their life: NEXT (published, not yet used), ACTIVE (signs), RETIRING (verifies what it
 * has signed), RETIRED (its private half is erased). They lie in the database sealed: a copy of the rows signs nothing.
 */
import { createJwtSigner, generateKey, type JwtSigner } from "@continuo/access";
import type { JWK } from "jose";
import { z } from "zod";
import type { Seal } from "../master-key/seal.ts";

/** A key ready to sign. */
export type SigningKey = JwtSigner;

/** A new key, or the active one, as it lies in the database. */
export interface SealedSigningKey {
  readonly kid: string;
  readonly publicJwk: JWK;
  /** The private JWK as a `Seal` closes it, bound to the kid. */
  readonly sealedPrivateKey: Uint8Array;
}

/** A row of `signing_keys`, without what is sealed. */
export const KeyRecord = z.object({
  kid: z.string(),
  state: z.enum(["NEXT", "ACTIVE", "RETIRING", "RETIRED"]),
  createdAt: z.date(),
  activatedAt: z.date().nullable(),
  retiringAt: z.date().nullable(),
  retiredAt: z.date().nullable(),
});
export type KeyRecord = z.infer<typeof KeyRecord>;

/** Each change compares before it sets, in one statement: false when somebody else was first, or the key is not so far. */
export interface SigningKeyStore {
  /** The active key; made by `create` when there is none, one at a time for all replicas, so that all agree. */
  activeOr(create: () => Promise<SealedSigningKey>, now: Date): Promise<SealedSigningKey>;
  /** Public keys that a verifier must know: next, active and retiring. */
  published(): Promise<JWK[]>;
  /** Public keys that ever were: what an old signature is checked with. */
  allPublic(): Promise<JWK[]>;
  /** All keys, oldest first. */
  list(): Promise<KeyRecord[]>;
  /** Publishes a next key, unless there is one. */
  addNext(key: SealedSigningKey, now: Date): Promise<boolean>;
  /** Lets the next key sign when it has been published since `publishedBy`; the active one retires. */
  activate(publishedBy: Date, now: Date): Promise<boolean>;
  /** Takes back keys that have been retiring since `retiringBy`, and erases their private halves. */
  retire(retiringBy: Date, now: Date): Promise<boolean>;
  /**
   * Takes a published key back at once, whatever that costs. Was it the active one, then the next key, or else
   * `replacement`, signs from now on.
   */
  retireNow(kid: string, replacement: SealedSigningKey, now: Date): Promise<boolean>;
}

/** A key that the master key does not open. */
class SealBroken extends Error {
  override readonly name = "SealBroken";
}

/** What signing keys are sealed for. */
export const SIGNING_KEY_SEAL = "continuo signing key seal 1";

const PrivateJwk = z.looseObject({ kty: z.string(), kid: z.string() });

/** A new ES256 key, sealed. */
export async function createSealedKey(seal: Seal): Promise<SealedSigningKey> {
  const { publicJwk, privateJwk } = await generateKey("ES256");
  const { kid } = publicJwk;
  return {
    kid,
    publicJwk: { ...publicJwk, use: "sig" },
    sealedPrivateKey: seal.close(Buffer.from(JSON.stringify(privateJwk)), kid),
  };
}

/** Opens a key. Throws SealBroken, naming MASTER_KEY, when it was sealed under another one, or tampered with. */
export function openSealedKey({ kid, sealedPrivateKey }: SealedSigningKey, seal: Seal): SigningKey {
  const opened = seal.open(sealedPrivateKey, kid);
  if (opened === undefined) {
    throw new SealBroken(
      `MASTER_KEY does not open the signing key ${kid}: it is not the one the database was set up with`,
    );
  }
  return createJwtSigner(PrivateJwk.parse(JSON.parse(opened.toString())));
}
