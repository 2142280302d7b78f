/**
 * A person: an id and an e-mail address, readable by the person themself alone.
 * How they prove to be that person is an authenticator's, in its own feature.
 */
import type { Caller } from "@continuo/access";
import { z } from "zod";

export interface User {
  readonly id: string;
  readonly email: string;
  readonly createdAt: Date;
}

/** An e-mail address, normalised: trimmed, lower case, NFC. No spaces, no invisible or control characters, 254 at most (RFC 5321). */
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
  /** Null for nobody and for somebody disabled. */
  loadUser(id: string): Promise<User | null>;
}

export interface Users {
  /** The caller; null when they are not signed in. */
  me(): Promise<User | null>;
  /** The caller under their own id; null for anybody else. */
  find(id: string): Promise<User | null>;
}

/** For one request: however often the caller is asked for, they are loaded once. */
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
