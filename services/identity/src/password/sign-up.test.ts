import { expect, test } from "vitest";
import { createSignUp } from "./sign-up.ts";
import { createTurnstiles } from "./turnstile.ts";

test("who signs up while there is no room is sent away before anything is worked out, and nobody is made", async () => {
  const done: string[] = [];
  const signUp = createSignUp({
    store: { createPerson: async ({ email }) => void done.push(`create ${email}`) },
    hasher: { hash: async () => (done.push("hash"), "a hash") },
    turnstile: createTurnstiles({ parallel: 1, waiting: 0 }).of(undefined),
    newId: () => "1",
    now: () => new Date(),
  });
  const [first, second] = await Promise.allSettled(
    ["ada@example.com", "alan@example.com"].map((email) => signUp({ email, password: "seven green apples on a hill" })),
  );
  expect(first?.status).toBe("fulfilled");
  expect(second).toMatchObject({ status: "rejected", reason: { code: "UNAVAILABLE", reason: "TOO_BUSY" } });
  expect(done).toEqual(["hash", "create ada@example.com"]);
});
