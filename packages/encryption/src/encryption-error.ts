/**
 * RECOVERY_CODE_INVALID: mistyped, or none. ROOT_KEY_WRONG: nothing in the ring is wrapped with it; never go on with a new key.
 * KEY_MISSING: the ring has no key of that version that opens it, or none at all: it may still come. VALUE_FORGED: what a key of
 * that version has not sealed for this place and instant.
 */
export type EncryptionErrorCode = "RECOVERY_CODE_INVALID" | "ROOT_KEY_WRONG" | "KEY_MISSING" | "VALUE_FORGED";

/** What this package throws. */
export class EncryptionError extends Error {
  override readonly name = "EncryptionError";
  readonly code: EncryptionErrorCode;

  constructor(code: EncryptionErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
