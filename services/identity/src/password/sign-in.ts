import { AppError } from "@continuo/errors";
import type { Logger } from "@continuo/process";
import type { Grants, IssuedGrant } from "../grant/grant.ts";
import type { PasswordHasher } from "./argon2id.ts";
import type { Attempt, PasswordStore } from "./password.ts";
import type { Credentials } from "./sign-up.ts";

/**
 * Proves who somebody is by password. Unknown, disabled, locked and wrong all get the same answer after the same work.
 * Each leaves a line that says by what, and whose it was where that is known (ASVS 16.3.1); never what was typed.
 * Throws UNAUTHENTICATED: CREDENTIALS_INVALID; UNAVAILABLE: TOO_BUSY.
 */
export type SignIn = (credentials: Credentials, logger: Pick<Logger, "info">) => Promise<IssuedGrant>;

interface Proven extends Attempt {
  readonly isOutdated: boolean;
}

export function createSignIn(options: {
  store: PasswordStore;
  hasher: PasswordHasher;
  grants: Grants;
  now: () => Date;
}): SignIn {
  const { store, hasher, grants, now } = options;

  async function prove({ email, password }: Credentials, logger: Pick<Logger, "info">): Promise<Proven | undefined> {
    const attempt = await store.startAttempt(email);
    const { matches, isOutdated } = await hasher.verify(attempt?.secret ?? null, password);
    const isProven = attempt !== null && matches && (await store.succeed(attempt, now()));
    logger.info({ userId: attempt?.userId ?? null, amr: ["pwd"], isProven }, "sign-in");
    return isProven ? { ...attempt, isOutdated } : undefined;
  }

  return async (credentials, logger) => {
    const proven = await prove(credentials, logger);
    if (proven === undefined) throw credentialsInvalid();
    const { authenticatorId, userId, secret, epoch, isOutdated } = proven;
    if (isOutdated) await store.rehash(authenticatorId, secret, await hasher.hash(credentials.password));
    return grants.issue({ userId, epoch, acr: "aal1", amr: ["pwd"] }, now());
  };
}

function credentialsInvalid(): AppError {
  return new AppError("UNAUTHENTICATED", "CREDENTIALS_INVALID", "The e-mail address or the password is wrong.");
}
