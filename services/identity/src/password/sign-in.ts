import { AppError } from "@continuo/errors";
import type { Grants, IssuedGrant } from "../grant/grant.ts";
import type { PasswordHasher } from "./argon2id.ts";
import type { PasswordStore } from "./password.ts";
import type { Credentials } from "./sign-up.ts";

/**
 * Proves who somebody is by password. Unknown, disabled, locked and wrong all get the same answer after the same work.
 * Throws UNAUTHENTICATED: CREDENTIALS_INVALID; UNAVAILABLE: TOO_BUSY.
 */
export type SignIn = (credentials: Credentials) => Promise<IssuedGrant>;

export function createSignIn(options: {
  store: PasswordStore;
  hasher: PasswordHasher;
  grants: Grants;
  now: () => Date;
}): SignIn {
  const { store, hasher, grants, now } = options;
  return async ({ email, password }) => {
    const attempt = await store.startAttempt(email);
    const { matches, isOutdated } = await hasher.verify(attempt?.secret ?? null, password);
    if (attempt === null || !matches) throw credentialsInvalid();
    const { authenticatorId, userId, secret, epoch } = attempt;
    if (!(await store.succeed(attempt, now()))) throw credentialsInvalid();
    if (isOutdated) await store.rehash(authenticatorId, secret, await hasher.hash(password));
    return grants.issue({ userId, epoch, acr: "aal1", amr: ["pwd"] }, now());
  };
}

function credentialsInvalid(): AppError {
  return new AppError("UNAUTHENTICATED", "CREDENTIALS_INVALID", "The e-mail address or the password is wrong.");
}
