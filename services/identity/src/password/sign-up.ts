import { assertAcceptable, type PasswordStore } from "./password.ts";
import type { PasswordHasher } from "./argon2id.ts";
import type { Turnstile } from "./turnstile.ts";

/** Both normalised. */
export interface Credentials {
  readonly email: string;
  readonly password: string;
}

/**
 * Creates a person who signs in by password. Neither the answer nor its timing reveals whether the address was free.
 * Throws BAD_USER_INPUT: PASSWORD_TOO_SHORT, PASSWORD_TOO_LONG, PASSWORD_TOO_COMMON; UNAVAILABLE: TOO_BUSY.
 */
export type SignUp = (credentials: Credentials) => Promise<{ email: string }>;

export function createSignUp(options: {
  store: Pick<PasswordStore, "createPerson">;
  hasher: Pick<PasswordHasher, "hash">;
  turnstile: Turnstile;
  newId: () => string;
  now: () => Date;
}): SignUp {
  const { store, hasher, turnstile, newId, now } = options;
  return async ({ email, password }) => {
    assertAcceptable(password, email);
    const secret = await turnstile.pass(async () => hasher.hash(password));
    await store.createPerson({ userId: newId(), authenticatorId: newId(), email, secret, at: now() });
    return { email };
  };
}
