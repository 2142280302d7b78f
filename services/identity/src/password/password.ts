/**
 * Passwords as one of a person's authenticators: what is acceptable, and when one is locked (NIST SP 800-63B-4, 3.1.1 and 3.2.2).
 * Making, proving and changing them are `sign-up.ts`, `sign-in.ts` and `change-password.ts`.
 */
import { AppError } from "@continuo/errors";
import { z } from "zod";
import { isCommonPassword } from "./common-password.ts";

/** In characters (Unicode code points). */
export const PASSWORD_LENGTH = { min: 15, max: 256 } as const;

/**
 * So many failures in a row lock a password. Strangers can use up half of them alone: the other half is left to whoever is
 * signed in as its owner, whose success starts the count again, so that nobody is locked out of a device of theirs.
 */
export const MAX_FAILURES = { ofStrangers: 50, ofAll: 100 } as const;

/** Exactly as received, but for NFC, so that two keyboards agree. Nothing is trimmed, cut or folded. */
export const Password = z
  .string()
  .max(4_096)
  .refine((text) => text.isWellFormed(), "expected well-formed Unicode")
  .transform((text) => text.normalize("NFC"));

/** Refuses what must not become a password. Throws BAD_USER_INPUT: PASSWORD_TOO_SHORT, PASSWORD_TOO_LONG, PASSWORD_TOO_COMMON. */
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
  /** The user's, which each change raises that voids what was proven before. */
  readonly epoch: number;
}

export interface PasswordStore {
  /** Creates the person if the address is free. Takes the same time and answers the same when it is not. */
  createPerson(person: NewPerson): Promise<void>;
  /**
   * Counts a failure in advance, so that parallel guesses cannot exceed the limit, and gives what there is to verify.
   * `signedInAs` is whose session asks. Null when nobody can sign in so: unknown, disabled, revoked or locked.
   */
  startAttempt(email: string, signedInAs: string | null): Promise<Attempt | null>;
  /**
   * The attempt was right: its owner starts again from no failures. False when they were disabled or deleted, or the
   * password changed or revoked, since it started.
   */
  succeed(attempt: Attempt, at: Date): Promise<boolean>;
  /**
   * As `succeed`, and `to` is the hash of another password from now on. Raises the user's epoch, and posts. False also for
   * the second of two that are at it at once.
   */
  replace(attempt: Attempt, to: string, at: Date): Promise<boolean>;
  /** Replaces one hash of the same password by another, unless it has changed meanwhile. */
  rehash(authenticatorId: string, from: string, to: string): Promise<void>;
}
