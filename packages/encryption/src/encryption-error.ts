/**
 * RECOVERY_CODE_INVALID: mistyped, or not a recovery code. ROOT_KEY_WRONG: no key in the ring is wrapped with it; never
 * continue with a new key. KEY_MISSING: the ring has no key of that version that this root key opens, or none at all;
 * it may still arrive. VALUE_FORGED: no key of that version sealed this for this place and instant.
 */
export type EncryptionErrorCode = "RECOVERY_CODE_INVALID" | "ROOT_KEY_WRONG" | "KEY_MISSING" | "VALUE_FORGED";

/** The error that this package throws. */
export class EncryptionError extends Error {
  override readonly name = "EncryptionError";
  readonly code: EncryptionErrorCode;

  constructor(code: EncryptionErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
