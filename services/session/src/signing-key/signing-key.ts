/**
 * Keys that sign access tokens, and their states: NEXT (published, not yet used), ACTIVE (signs), RETIRING (only
 * verifies), RETIRED (private key erased). The database stores them sealed, so a copy of the rows cannot sign.
 */
import { createJwtSigner, generateKey, type JwtSigner } from "@continuo/access";
import { SetupError } from "@continuo/process";
import type { JWK } from "jose";
import { z } from "zod";
import type { Seal } from "../master-key/seal.ts";

/** A key ready to sign. */
export type SigningKey = JwtSigner;

/** A new key, or the active one, as stored in the database. */
export interface SealedSigningKey {
  readonly kid: string;
  readonly publicJwk: JWK;
  /** The private JWK as a `Seal` closes it, bound to the kid. */
  readonly sealedPrivateKey: Uint8Array;
}

/** A row of `signing_keys`, without the keys themselves. */
export const KeyRecord = z.object({
  kid: z.string(),
  state: z.enum(["NEXT", "ACTIVE", "RETIRING", "RETIRED"]),
  createdAt: z.date(),
  activatedAt: z.date().nullable(),
  retiringAt: z.date().nullable(),
  retiredAt: z.date().nullable(),
});
export type KeyRecord = z.infer<typeof KeyRecord>;

/** Each change is a compare-and-set: false when another process was first, or the key is not ready for it. */
export interface SigningKeyStore {
  /** The active key. If there is none, creates it under a lock that all replicas share, so that all agree on one. */
  activeOr(create: () => Promise<SealedSigningKey>, now: Date): Promise<SealedSigningKey>;
  /** Public keys that a verifier must know: next, active and retiring. */
  published(): Promise<JWK[]>;
  /** All public keys there ever were, to verify old signatures. */
  allPublic(): Promise<JWK[]>;
  /** All keys, oldest first. */
  list(): Promise<KeyRecord[]>;
  /** Publishes a next key, unless there is one. */
  addNext(key: SealedSigningKey, now: Date): Promise<boolean>;
  /** Activates the next key if it was published by `publishedBy`; the former active key becomes RETIRING. */
  activate(publishedBy: Date, now: Date): Promise<boolean>;
  /** Retires keys that have been RETIRING since `retiringBy` or longer, and erases their private keys. */
  retire(retiringBy: Date, now: Date): Promise<boolean>;
  /**
   * Retires a published key at once, though tokens that it signed are still in use. If it was the active one, the next
   * key, or else `replacement`, becomes active.
   */
  retireNow(kid: string, replacement: SealedSigningKey, now: Date): Promise<boolean>;
}

/** The seal's purpose for signing keys. */
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

/** Opens a key. Throws SetupError E_MASTER_KEY when it was sealed under another one, or tampered with. */
export function openSealedKey({ kid, sealedPrivateKey }: SealedSigningKey, seal: Seal): SigningKey {
  const opened = seal.open(sealedPrivateKey, kid);
  if (opened === undefined) {
    throw new SetupError(
      "E_MASTER_KEY",
      `MASTER_KEY does not open the signing key ${kid}: it is not the one that this database was set up with.`,
      "Set MASTER_KEY to that one; while it is replaced, to both, joined by a comma. If it is lost: docs/operations.md#keys-and-secrets.",
    );
  }
  return createJwtSigner(PrivateJwk.parse(JSON.parse(opened.toString())));
}
