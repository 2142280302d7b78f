import { AppError } from "@continuo/errors";
import { setImmediate } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import type { Grants } from "../grant/grant.ts";
import { createPasswordHasher } from "./argon2id.ts";
import type { Attempt, PasswordStore } from "./password.ts";
import { createSignIn } from "./sign-in.ts";
import type { Credentials } from "./sign-up.ts";
import { createTurnstiles } from "./turnstile.ts";

const NOW = new Date("2026-11-24T06:00:00.000Z");
const PASSWORD = "seven green apples on a hill";
const cost = { memoryKib: 64, passes: 1, parallelism: 1 };
const hasher = createPasswordHasher(cost);
const secret = await hasher.hash(PASSWORD);

/** One person who can try, or nobody; and a record of everything that was done. */
function signInWith(attempt: Attempt | null, working = hasher, isStill = true) {
  const done: string[] = [];
  const store: PasswordStore = {
    createPerson: async () => void done.push("create"),
    startAttempt: async (_email, signedInAs) => (done.push(`start${signedInAs ?? ""}`), attempt),
    succeed: async ({ authenticatorId }, at) => (done.push(`succeed ${authenticatorId} ${at.toISOString()}`), isStill),
    replace: async () => (done.push("replace"), true),
    async rehash(id, from) {
      await setImmediate();
      done.push(`rehash ${id} ${from === secret}`);
    },
  };
  const recording = {
    hash: async (password: string) => (done.push("hash"), working.hash(password)),
    verify: async (phc: string | null, password: string) => (done.push("work"), working.verify(phc, password)),
  };
  const grants = {
    issue: async ({ userId, epoch, acr, amr }: Parameters<Grants["issue"]>[0]) => ({
      grant: `${userId} ${epoch} ${acr} ${amr.join()}`,
      expiresAt: NOW,
    }),
  };
  const said: unknown[] = [];
  const logger = { info: (...line: unknown[]) => void said.push(line) };
  const turnstile = createTurnstiles({ parallel: 1, waiting: 0 }).of(undefined);
  const signIn = createSignIn({ store, hasher: recording, turnstile, grants, now: () => NOW });
  return {
    done,
    said,
    signIn: (credentials: Credentials, signedInAs: string | null = null) => signIn(credentials, { signedInAs, logger }),
  };
}

const ada = { authenticatorId: "a1", userId: "ada", secret, epoch: 3 };

describe("signing in", () => {
  test("with the right password gives a grant and forgets earlier failures", async () => {
    const { done, signIn } = signInWith(ada);
    expect(await signIn({ email: "ada@example.com", password: PASSWORD })).toEqual({
      grant: "ada 3 aal1 pwd",
      expiresAt: NOW,
    });
    expect(done).toEqual(["start", "work", "succeed a1 2026-11-24T06:00:00.000Z"]);
  });

  test("with the right password of somebody who is disabled meanwhile gets the answer of a wrong one", async () => {
    const { signIn } = signInWith(ada, hasher, false);
    await expect(signIn({ email: "ada@example.com", password: PASSWORD })).rejects.toMatchObject({
      reason: "CREDENTIALS_INVALID",
    });
  });

  test.each<[string, Attempt | null, string, boolean, { userId: string | null; isProven: boolean }]>([
    ["right", ada, PASSWORD, true, { userId: "ada", isProven: true }],
    ["wrong", ada, "some other words entirely", true, { userId: "ada", isProven: false }],
    ["right, but too late", ada, PASSWORD, false, { userId: "ada", isProven: false }],
    ["of nobody, or locked", null, PASSWORD, true, { userId: null, isProven: false }],
  ])(
    "leaves a line, with whose it was and nothing that was typed: %s",
    async (_case, attempt, password, isStill, line) => {
      const { said, signIn } = signInWith(attempt, hasher, isStill);
      await signIn({ email: "ada@example.com", password }).catch(() => undefined);
      expect(said).toEqual([[{ ...line, amr: ["pwd"] }, "sign-in"]]);
    },
  );

  test("renews a hash made at another cost", async () => {
    const { done, signIn } = signInWith(ada, createPasswordHasher({ ...cost, passes: 2 }));
    await signIn({ email: "ada@example.com", password: PASSWORD });
    expect(done.slice(-2)).toEqual(["hash", "rehash a1 true"]);
  });

  test.each([
    ["a wrong password", ada, "some other words entirely"],
    ["a password that differs in one space", ada, `${PASSWORD} `],
    ["an address that nobody can sign in with", null, PASSWORD],
  ])("with %s costs the same work and gets the same answer", async (_case, attempt, password) => {
    const { done, signIn } = signInWith(attempt);
    await expect(signIn({ email: "ada@example.com", password })).rejects.toEqual(
      new AppError("UNAUTHENTICATED", "CREDENTIALS_INVALID", "The e-mail address or the password is wrong."),
    );
    expect(done).toEqual(["start", "work"]);
  });

  test("of somebody for whom there is no room is no attempt: nothing is counted against them", async () => {
    const { done, signIn } = signInWith(ada);
    const credentials = { email: "ada@example.com", password: PASSWORD };
    const [first, second] = await Promise.allSettled([signIn(credentials), signIn(credentials)]);
    expect(first.status).toBe("fulfilled");
    expect(second).toMatchObject({ status: "rejected", reason: { code: "UNAVAILABLE", reason: "TOO_BUSY" } });
    expect(done.filter((step) => step === "start")).toHaveLength(1);
  });

  test("says whose session asks", async () => {
    const { done, signIn } = signInWith(ada);
    await signIn({ email: "ada@example.com", password: PASSWORD }, "-as-ada");
    expect(done[0]).toBe("start-as-ada");
  });
});
