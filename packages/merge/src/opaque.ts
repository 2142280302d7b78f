/**
 * Ciphertext, or what only the application understands: a register that knows nothing of its value. The author's own
 * stamp travels inside it, because what was encrypted is bound to that and the effective stamp may be another.
 */
import type { Kind } from "./kind.ts";
import type { OpaquePayload } from "./payload.ts";
import { register } from "./register.ts";
import type { RegisterState } from "./state.ts";

/** Bounded as a register is. */
export const opaque: Kind<RegisterState, OpaquePayload> = { ...register, name: "OPAQUE" };
