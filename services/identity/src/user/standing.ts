/**
 * What an operator does with a user: unlock, disable, enable again, delete. A disabled or deleted user cannot sign in
 * from the commit on. The other services learn of it by events: they end the user's sessions, record the change among
 * the user's security events, and erase the data of a deleted user.
 */
import { AppError } from "@continuo/errors";
import { z } from "zod";
import { REPEAT_AFTER_SECONDS } from "../outbox.ts";
import { Email, type User } from "./user.ts";

/** A user as an operator names one: an id, or an e-mail address. */
export const UserKey = z.union([z.uuid(), Email], "expected a user's id or e-mail address");

/** A user as an operator sees one. */
export interface UserStanding extends User {
  readonly disabledAt: Date | null;
  /**
   * The most consecutive failures of any authenticator: at 50 it is locked for callers not signed in as the user, at
   * 100 for all.
   */
  readonly failures: number;
}

/** Each write and its events are one statement. Undefined when there is no such user. */
export interface StandingStore {
  find(key: string): Promise<UserStanding | undefined>;
  /** Resets the failure counts of all the user's authenticators. */
  unlock(id: string): Promise<void>;
  /** Raises the user's epoch and posts; for a user who is already disabled, only posts again. */
  disable(id: string, at: Date, saidAfterSeconds: readonly number[]): Promise<UserStanding | undefined>;
  /** Raises the epoch of a disabled user and posts; for a user who is already enabled, only posts again. */
  enable(id: string, saidAfterSeconds: readonly number[]): Promise<UserStanding | undefined>;
  /** Deletes the user and their authenticators, and posts under a raised epoch. */
  remove(id: string, saidAfterSeconds: readonly number[]): Promise<UserStanding | undefined>;
}

/** All throw NOT_FOUND/USER_NOT_FOUND. Resolved means committed; `key` is an id or an e-mail address. */
export interface Standings {
  find(key: string): Promise<UserStanding>;
  /** Lets the user try again after too many failures. */
  unlock(key: string): Promise<UserStanding>;
  /** Lets nobody sign in as this user and ends all their sessions. A repetition posts the events again. */
  disable(key: string): Promise<UserStanding>;
  /** Lets a disabled user sign in again, with the same authenticators. */
  enable(key: string): Promise<UserStanding>;
  /** Deletes the user for good. The address is free again; signing up with it makes a different user. */
  remove(key: string): Promise<UserStanding>;
}

/** Wires the use cases. `posted` announces new outbox events after a commit. */
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
    disable: async (key) => post(store.disable((await find(key)).id, now(), REPEAT_AFTER_SECONDS)),
    enable: async (key) => post(store.enable((await find(key)).id, REPEAT_AFTER_SECONDS)),
    remove: async (key) => post(store.remove((await find(key)).id, REPEAT_AFTER_SECONDS)),
  };
}

function there(user: UserStanding | undefined): UserStanding {
  if (user !== undefined) return user;
  throw new AppError("NOT_FOUND", "USER_NOT_FOUND", "There is no such user.");
}
