import { AppError } from "@continuo/errors";
import type { Logger } from "@continuo/process";
import type { Grants, IssuedGrant } from "../grant/grant.ts";
import type { PasswordHasher } from "./argon2id.ts";
import type { Attempt, PasswordStore } from "./password.ts";
import type { Credentials } from "./sign-up.ts";
import type { Turnstile } from "./turnstile.ts";

/**
 * Authenticates a user by password. Unknown, disabled, locked and wrong all get the same answer after the same work.
 * Each attempt is logged with its method and, where known, its user (ASVS 16.3.1); never with what was typed.
 * Throws UNAUTHENTICATED: CREDENTIALS_INVALID; UNAVAILABLE: TOO_BUSY, before anything is tried or counted.
 */
export type SignIn = (
  credentials: Credentials,
  circumstances: {
    /** The user whose session asks; null without a session. */
    readonly signedInAs: string | null;
    readonly logger: Pick<Logger, "info">;
  },
) => Promise<IssuedGrant>;

interface Proven extends Attempt {
  readonly isOutdated: boolean;
}

export function createSignIn(options: {
  store: PasswordStore;
  hasher: PasswordHasher;
  turnstile: Turnstile;
  grants: Grants;
  now: () => Date;
}): SignIn {
  const { store, hasher, turnstile, grants, now } = options;

  async function prove(
    { email, password }: Credentials,
    { signedInAs, logger }: Parameters<SignIn>[1],
  ): Promise<Proven | undefined> {
    const attempt = await store.startAttempt(email, signedInAs);
    const { matches, isOutdated } = await hasher.verify(attempt?.secret ?? null, password);
    const isProven = attempt !== null && matches && (await store.succeed(attempt, now()));
    logger.info({ userId: attempt?.userId ?? null, amr: ["pwd"], isProven }, "sign-in");
    return isProven ? { ...attempt, isOutdated } : undefined;
  }

  return async (credentials, circumstances) =>
    turnstile.pass(async () => {
      const proven = await prove(credentials, circumstances);
      if (proven === undefined) throw credentialsInvalid();
      const { authenticatorId, userId, secret, epoch, isOutdated } = proven;
      if (isOutdated) await store.rehash(authenticatorId, secret, await hasher.hash(credentials.password));
      return grants.issue({ userId, epoch, acr: "aal1", amr: ["pwd"] }, now());
    });
}

function credentialsInvalid(): AppError {
  return new AppError("UNAUTHENTICATED", "CREDENTIALS_INVALID", "The e-mail address or the password is wrong.");
}
