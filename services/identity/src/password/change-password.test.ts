import { describe, expect, test } from "vitest";
import type { User } from "../user/user.ts";
import { createPasswordHasher } from "./argon2id.ts";
import { createChangePassword } from "./change-password.ts";
import type { Attempt } from "./password.ts";
import { createTurnstiles } from "./turnstile.ts";

const NOW = new Date("2026-11-24T06:00:00.000Z");
const PASSWORD = "seven green apples on a hill";
const OTHER = "eight red pears in a valley";
const hasher = createPasswordHasher({ memoryKib: 64, passes: 1, parallelism: 1 });
const secret = await hasher.hash(PASSWORD);
const ada: User = { id: "ada", email: "ada@example.com", createdAt: NOW };
const theirs: Attempt = { authenticatorId: "a1", userId: "ada", secret, epoch: 3 };

/** One person; and a record of everything that was done. */
function changeWith(attempt: Attempt | null, isReplaced = true) {
  const done: string[] = [];
  const change = createChangePassword({
    store: {
      startAttempt: async (email, signedInAs) => (done.push(`start ${email} as ${signedInAs}`), attempt),
      replace: async ({ authenticatorId, epoch }, to, at) => (
        done.push(
          `replace ${authenticatorId} ${epoch} ${(await hasher.verify(to, OTHER)).matches} ${at.toISOString()}`,
        ),
        isReplaced
      ),
    },
    hasher,
    turnstile: createTurnstiles({ parallel: 1, waiting: 0 }).of(undefined),
    posted: async () => void done.push("posted"),
    now: () => NOW,
  });
  return { done, change };
}

describe("changing a password", () => {
  test("replaces the current one, which was shown, by the new one", async () => {
    const { done, change } = changeWith(theirs);
    await change(ada, { currentPassword: PASSWORD, newPassword: OTHER });
    expect(done).toEqual(["start ada@example.com as ada", `replace a1 3 true ${NOW.toISOString()}`, "posted"]);
  });

  test.each<[string, Attempt | null, string]>([
    ["a wrong one is shown", theirs, OTHER],
    ["theirs is locked", null, PASSWORD],
    ["the address is somebody else's by now", { ...theirs, userId: "grace" }, PASSWORD],
  ])("counts an attempt and changes nothing when %s", async (_case, attempt, currentPassword) => {
    const { done, change } = changeWith(attempt);
    await expect(change(ada, { currentPassword, newPassword: OTHER })).rejects.toMatchObject({
      code: "BAD_USER_INPUT",
      reason: "CURRENT_PASSWORD_WRONG",
    });
    expect(done).toEqual(["start ada@example.com as ada"]);
  });

  test("is refused to the second of two who do it at once", async () => {
    const { done, change } = changeWith(theirs, false);
    const both = { currentPassword: PASSWORD, newPassword: OTHER };
    await expect(change(ada, both)).rejects.toMatchObject({ reason: "CURRENT_PASSWORD_WRONG" });
    expect(done).not.toContain("posted");
  });

  test("looks at the new one first, as at sign-up", async () => {
    const { done, change } = changeWith(theirs);
    for (const [newPassword, reason] of [
      ["too short", "PASSWORD_TOO_SHORT"],
      ["qwertyuiop123456789", "PASSWORD_TOO_COMMON"],
    ] as const)
      await expect(change(ada, { currentPassword: PASSWORD, newPassword })).rejects.toMatchObject({ reason });
    expect(done).toEqual([]);
  });

  test("is no attempt while there is no room: nothing is counted", async () => {
    const { done, change } = changeWith(theirs);
    const both = { currentPassword: PASSWORD, newPassword: OTHER };
    const [, second] = await Promise.allSettled([change(ada, both), change(ada, both)]);
    expect(second).toMatchObject({ status: "rejected", reason: { code: "UNAVAILABLE", reason: "TOO_BUSY" } });
    expect(done.filter((step) => step.startsWith("start"))).toHaveLength(1);
  });
});
