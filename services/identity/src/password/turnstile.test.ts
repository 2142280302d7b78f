import { expect, test } from "vitest";
import { createTurnstiles } from "./turnstile.ts";

function gates(count: number) {
  return Array.from({ length: count }, () => Promise.withResolvers<number>());
}

test("a turnstile lets only so many through at a time, in the order they came", async () => {
  const turnstile = createTurnstiles({ parallel: 2, waiting: 10 }).of(undefined);
  const work = gates(5);
  const started: number[] = [];
  const passing = work.map(async ({ promise }, index) =>
    turnstile.pass(async () => {
      started.push(index);
      return promise;
    }),
  );
  expect(started).toEqual([0, 1]);
  work[1]?.resolve(1);
  await passing[1];
  await expect.poll(() => started).toEqual([0, 1, 2]);
  for (const [index, { resolve }] of work.entries()) resolve(index);
  expect(await Promise.all(passing)).toEqual([0, 1, 2, 3, 4]);
  expect(started).toEqual([0, 1, 2, 3, 4]);
});

test("whoever finds the line full is sent away at once, and may come back later", async () => {
  const turnstile = createTurnstiles({ parallel: 1, waiting: 1 }).of(undefined);
  for (let time = 0; time < 2; time += 1) {
    const [first, second] = gates(2);
    const inside = turnstile.pass(async () => first?.promise);
    const inLine = turnstile.pass(async () => second?.promise);
    await expect(turnstile.pass(async () => 3)).rejects.toMatchObject({ code: "UNAVAILABLE", reason: "TOO_BUSY" });
    first?.resolve(1);
    second?.resolve(2);
    expect(await Promise.all([inside, inLine])).toEqual([1, 2]);
  }
});

test("work that fails leaves its place to the next", async () => {
  const turnstile = createTurnstiles({ parallel: 1, waiting: 2 }).of(undefined);
  const failing = turnstile.pass(async () => Promise.reject(new Error("broken")));
  const next = turnstile.pass(async () => "through");
  await expect(failing).rejects.toThrow("broken");
  expect(await next).toBe("through");
  expect(await turnstile.pass(async () => "again")).toBe("again");
});

test("networks take turns, and one cannot fill the line", async () => {
  const turnstiles = createTurnstiles({ parallel: 1, waiting: 12 });
  const gate = Promise.withResolvers<void>();
  const passed: string[] = [];
  const inside = turnstiles.of("crowd").pass(() => gate.promise);
  const comes = (network: string) => turnstiles.of(network).pass(async () => void passed.push(network));
  const inLine = [comes("crowd"), comes("crowd"), comes("crowd"), comes("home"), comes("home"), comes("office")];
  const refused = { code: "UNAVAILABLE", reason: "TOO_BUSY" };
  await expect(comes("crowd")).rejects.toMatchObject(refused);
  inLine.push(...["train", "train", "train", "hotel", "hotel", "hotel"].map(comes));
  await expect(comes("nobody yet")).rejects.toMatchObject(refused);
  gate.resolve();
  await Promise.all([inside, ...inLine]);
  const rounds = ["crowd home office train hotel", "crowd home train hotel", "crowd train hotel"];
  expect(passed.join(" ")).toBe(rounds.join(" "));
  await comes("crowd");
});
