import { AppError } from "@continuo/errors";
import type { User } from "../user/user.ts";
import type { PasswordHasher } from "./argon2id.ts";
import { assertAcceptable, type PasswordStore } from "./password.ts";
import type { Turnstile } from "./turnstile.ts";

/** Both normalised. */
export interface PasswordChange {
  readonly currentPassword: string;
  readonly newPassword: string;
}

/**
 * Changes the password of a signed-in user. The current password authenticates the change (ASVS 6.2.3); a wrong one
 * counts as a failure, as at sign-in. Sessions go on, but once the session subgraph has applied the event, a sign-in
 * with the old password that is still under way opens none. `posted` announces the event after the commit.
 * Throws BAD_USER_INPUT: CURRENT_PASSWORD_WRONG (also when the password is locked or was replaced meanwhile),
 * PASSWORD_TOO_SHORT, PASSWORD_TOO_LONG, PASSWORD_TOO_COMMON; UNAVAILABLE: TOO_BUSY, before anything is tried or
 * counted.
 */
export type ChangePassword = (user: User, change: PasswordChange) => Promise<void>;

export function createChangePassword(options: {
  store: Pick<PasswordStore, "startAttempt" | "replace">;
  hasher: Pick<PasswordHasher, "verify" | "hash">;
  turnstile: Turnstile;
  posted: () => Promise<void>;
  now: () => Date;
}): ChangePassword {
  const { store, hasher, turnstile, posted, now } = options;
  return async ({ id, email }, { currentPassword, newPassword }) => {
    assertAcceptable(newPassword, email);
    await turnstile.pass(async () => {
      const attempt = await store.startAttempt(email, id);
      const { matches } = await hasher.verify(attempt?.secret ?? null, currentPassword);
      if (attempt === null || attempt.userId !== id || !matches) throw wrong();
      if (!(await store.replace(attempt, await hasher.hash(newPassword), now()))) throw wrong();
    });
    await posted();
  };
}

function wrong(): AppError {
  return new AppError("BAD_USER_INPUT", "CURRENT_PASSWORD_WRONG", "The current password is wrong.");
}
