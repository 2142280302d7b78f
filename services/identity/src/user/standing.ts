/**
 * What an operator does with a user: unlock, disable, enable again, delete. Who is disabled or deleted signs in no more from the
 * commit on; the others hear of it by events, which end the sessions there are, erase what is kept of who was deleted, and
 * are recorded among the user's security events.
 */
import { AppError } from "@continuo/errors";
import { z } from "zod";
import { SAID_AFTER_SECONDS } from "../outbox.ts";
import { Email, type User } from "./user.ts";

/** A user as an operator names one: an id, or an e-mail address. */
export const UserKey = z.union([z.uuid(), Email], "expected a user's id or e-mail address");

/** A user as an operator sees one. */
export interface UserStanding extends User {
  readonly disabledAt: Date | null;
  /** In a row, by the authenticator that has most: at 50 it is locked for whoever is not signed in, at 100 for all. */
  readonly failures: number;
}

/** Each write is one statement with its events; undefined when there is no such user. */
export interface StandingStore {
  find(key: string): Promise<UserStanding | undefined>;
  /** Their failures count from none again. */
  unlock(id: string): Promise<void>;
  /** Raises the user's epoch, and posts; of a user who is disabled already, posts again. */
  disable(id: string, at: Date, saidAfterSeconds: readonly number[]): Promise<UserStanding | undefined>;
  /** Raises the epoch of a user who is disabled, and posts; of a user who is enabled already, posts again. */
  enable(id: string, saidAfterSeconds: readonly number[]): Promise<UserStanding | undefined>;
  /** Deletes the user with all that they sign in by, and posts under a raised epoch. */
  remove(id: string, saidAfterSeconds: readonly number[]): Promise<UserStanding | undefined>;
}

/** All throw NOT_FOUND/USER_NOT_FOUND. Resolved means committed; `key` is an id or an e-mail address. */
export interface Standings {
  find(key: string): Promise<UserStanding>;
  /** They may try again to sign in, after too many failures. */
  unlock(key: string): Promise<UserStanding>;
  /** Nobody signs in as this user, and every session of theirs ends. Told again, it is said again. */
  disable(key: string): Promise<UserStanding>;
  /** They may sign in again, by what they signed in by before. */
  enable(key: string): Promise<UserStanding>;
  /** For good: the address is free again, and whoever signs up with it is somebody else. */
  remove(key: string): Promise<UserStanding>;
}

/** Wires the use cases; `posted` says after a commit that there are events to hand over. */
export function createStandings(options: {
  store: StandingStore;
  posted: () => Promise<void>;
  now: () => Date;
}): Standings {
  const { store, posted, now } = options;

  async function find(key: string): Promise<UserStanding> {
    return there(await store.find(key));
  }

  async function post(work: Promise<UserStanding | undefined>): Promise<UserStanding> {
    const user = there(await work);
    await posted();
    return user;
  }

  return {
    find,
    unlock: async (key) => {
      const { id } = await find(key);
      await store.unlock(id);
      return find(id);
    },
    disable: async (key) => post(store.disable((await find(key)).id, now(), SAID_AFTER_SECONDS)),
    enable: async (key) => post(store.enable((await find(key)).id, SAID_AFTER_SECONDS)),
    remove: async (key) => post(store.remove((await find(key)).id, SAID_AFTER_SECONDS)),
  };
}

function there(user: UserStanding | undefined): UserStanding {
  if (user !== undefined) return user;
  throw new AppError("NOT_FOUND", "USER_NOT_FOUND", "There is no such user.");
}
