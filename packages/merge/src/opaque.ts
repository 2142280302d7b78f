/**
 * Ciphertext, or any value only the application understands: a register that does not look into its value. The value
 * carries the author's own stamp, because the ciphertext is bound to that and the effective stamp may differ.
 */
import type { Kind } from "./kind.ts";
import type { OpaquePayload } from "./payload.ts";
import { register } from "./register.ts";
import type { RegisterState } from "./state.ts";

/** A register of sealed values, with a register's bounds. */
export const opaque: Kind<RegisterState, OpaquePayload> = { ...register, name: "OPAQUE" };
