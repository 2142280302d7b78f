/**
 * Passwords, one kind of authenticator: which are acceptable and when one is locked (NIST SP 800-63B-4, 3.1.1 and
 * 3.2.2). `sign-up.ts`, `sign-in.ts` and `change-password.ts` create, verify and change them.
 */
import { AppError } from "@continuo/errors";
import { z } from "zod";
import { isCommonPassword } from "./common-password.ts";

/** In characters (Unicode code points). */
export const PASSWORD_LENGTH = { min: 15, max: 256 } as const;

/**
 * Consecutive failures that lock a password. Strangers can use up only half of them; the other half is reserved for
 * callers signed in as its owner, whose success resets the count. So nobody is locked out of their own device.
 */
export const MAX_FAILURES = { ofStrangers: 50, ofAll: 100 } as const;

/** Exactly as received except for NFC, so that two keyboards agree. Nothing is trimmed, truncated or case-folded. */
export const Password = z
  .string()
  .max(4_096)
  .refine((text) => text.isWellFormed(), "expected well-formed Unicode")
  .transform((text) => text.normalize("NFC"));

/**
 * Asserts that a new password is acceptable. Throws BAD_USER_INPUT: PASSWORD_TOO_SHORT, PASSWORD_TOO_LONG,
 * PASSWORD_TOO_COMMON.
 */
export function assertAcceptable(password: string, email: string): void {
  const { min, max } = PASSWORD_LENGTH;
  const length = Array.from(password).length;
  if (length < min) throw refused("PASSWORD_TOO_SHORT", `Use at least ${min} characters.`, { min, max });
  if (length > max) throw refused("PASSWORD_TOO_LONG", `Use at most ${max} characters.`, { min, max });
  if (isCommonPassword(password, email, min)) {
    throw refused("PASSWORD_TOO_COMMON", "Others use this password, or one that is as easy to guess: choose another.");
  }
}

function refused(reason: string, message: string, details?: Record<string, number>): AppError {
  return new AppError("BAD_USER_INPUT", reason, message, details && { details });
}

/** A person and their password, about to be created. `secret` is a PHC string. */
export interface NewPerson {
  readonly userId: string;
  readonly authenticatorId: string;
  readonly email: string;
  readonly secret: string;
  readonly at: Date;
}

/** One attempt at a password, already counted as a failure. */
export interface Attempt {
  readonly authenticatorId: string;
  readonly userId: string;
  readonly secret: string;
  /** The user's epoch, raised by each change that voids earlier authentications. */
  readonly epoch: number;
}

export interface PasswordStore {
  /** Creates the person if the address is free; if it is taken, takes the same time and answers the same. */
  createPerson(person: NewPerson): Promise<void>;
  /**
   * Counts a failure in advance, so that parallel guesses cannot exceed the limit, and returns what to verify.
   * `signedInAs` is the user whose session asks. Null when the user is unknown or disabled, or the password revoked or
   * locked.
   */
  startAttempt(email: string, signedInAs: string | null): Promise<Attempt | null>;
  /**
   * The password was right: resets its failures. False when, since the attempt started, the user was disabled or
   * deleted, or the password changed or revoked.
   */
  succeed(attempt: Attempt, at: Date): Promise<boolean>;
  /**
   * Like `succeed`, and stores `to`, the hash of the new password. Raises the user's epoch and posts. Of two concurrent
   * changes, the second gets false.
   */
  replace(attempt: Attempt, to: string, at: Date): Promise<boolean>;
  /** Replaces the hash by another of the same password, unless the password has changed meanwhile. */
  rehash(authenticatorId: string, from: string, to: string): Promise<void>;
}
