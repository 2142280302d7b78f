export { EncryptionError, type EncryptionErrorCode } from "./encryption-error.ts";
export {
  changeRootKey,
  createKey,
  openKeyRing,
  type KeyRing,
  type KeyRingOptions,
  type Place,
  type Sealed,
} from "./key-ring.ts";
export { createRecoveryCode, rootKeyOf, type RootKey } from "./recovery-code.ts";
