/**
 * A person: an id and an e-mail address, which only the person can read.
 * How they authenticate is a feature of its own.
 */
import type { Caller } from "@continuo/access";
import { z } from "zod";

export interface User {
  readonly id: string;
  readonly email: string;
  readonly createdAt: Date;
}

/**
 * An e-mail address, normalised: trimmed, lower case, NFC. No spaces, no invisible or control characters, at most 254
 * characters (RFC 5321).
 */
export const Email = z
  .string()
  .max(1_000)
  .transform((text) => text.trim().toLowerCase().normalize("NFC"))
  .pipe(
    z
      .string()
      .max(254)
      .regex(/^[^\s@"\p{C}]{1,64}@[^\s@"\p{C}]+$/u, "expected an e-mail address"),
  );

export interface UserStore {
  /** Null for an unknown or disabled user. */
  loadUser(id: string): Promise<User | null>;
}

export interface Users {
  /** The caller; null when they are not signed in. */
  me(): Promise<User | null>;
  /** The caller, if `id` is theirs; null for any other id. */
  find(id: string): Promise<User | null>;
}

/** The users of one request; the caller is loaded at most once. */
export function createUsers(store: UserStore, caller: Caller): Users {
  let loaded: Promise<User | null> | undefined;

  async function me(): Promise<User | null> {
    if (caller.kind !== "viewer") return null;
    loaded ??= store.loadUser(caller.viewer.userId);
    return loaded;
  }

  return {
    me,
    find: async (id) => (caller.kind === "viewer" && caller.viewer.userId === id ? me() : null),
  };
}
