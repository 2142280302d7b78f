/**
 * The secret from which everything is opened: 256 random bits as a bech32m code (BIP 350), whose checksum detects
 * typing errors. The person keeps it and carries it to their other devices. Nobody else has it, and without it nothing
 * can be read.
 */
import { bech32m } from "@scure/base";
import { EncryptionError } from "./encryption-error.ts";

/** Wraps and unwraps the keys of a ring; not extractable, so a browser may keep it in IndexedDB. */
export type RootKey = Awaited<ReturnType<typeof crypto.subtle.deriveKey>>;

const PREFIX = "continuo";
const SECRET_BYTES = 32;

/** Creates a recovery code: `continuo1` and 58 letters and digits. Done once per person, before their first key. */
export function createRecoveryCode(): string {
  return bech32m.encodeFromBytes(PREFIX, crypto.getRandomValues(new Uint8Array(SECRET_BYTES)));
}

/**
 * Derives the root key from the code by HKDF-SHA-256 (RFC 5869); spaces, hyphens and case are ignored. Throws
 * RECOVERY_CODE_INVALID.
 */
export async function rootKeyOf(recoveryCode: string): Promise<RootKey> {
  const secret = await crypto.subtle.importKey("raw", secretIn(recoveryCode), "HKDF", false, ["deriveKey"]);
  const derivation = {
    name: "HKDF",
    hash: "SHA-256",
    salt: new Uint8Array(),
    info: new TextEncoder().encode("root 1"),
  };
  return crypto.subtle.deriveKey(derivation, secret, { name: "AES-GCM", length: 256 }, false, ["wrapKey", "unwrapKey"]);
}

function secretIn(recoveryCode: string): Uint8Array<ArrayBuffer> {
  const text = recoveryCode.replace(/[\s-]/gu, "").toLowerCase();
  const { prefix, bytes } = bech32m.decodeUnsafe(text)
    ? bech32m.decodeToBytes(text)
    : { prefix: "", bytes: new Uint8Array() };
  if (prefix !== PREFIX || bytes.length !== SECRET_BYTES)
    throw new EncryptionError("RECOVERY_CODE_INVALID", "This is no recovery code: look for a letter that differs.");
  return new Uint8Array(bytes);
}
