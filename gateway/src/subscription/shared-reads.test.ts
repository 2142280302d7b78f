import { expect, it } from "vitest";
import { createSharedReads } from "./shared-reads.ts";

/** A read that answers when it is told to. */
function gates(): {
  read: () => Promise<number>;
  answer: (index: number) => void;
  fail: (index: number) => void;
  begun: () => number;
} {
  const all: PromiseWithResolvers<number>[] = [];
  return {
    read() {
      const gate = Promise.withResolvers<number>();
      all.push(gate);
      return gate.promise;
    },
    answer: (index) => all[index]?.resolve(index),
    fail: (index) => all[index]?.reject(new Error("away")),
    begun: () => all.length,
  };
}

it("is one for all who ask before it begins", async () => {
  const { read, answer, begun } = gates();
  const share = createSharedReads<number>();
  const asked = Array.from({ length: 100 }, () => share("a", read));
  await expect.poll(begun).toBe(1);
  answer(0);
  expect(new Set(await Promise.all(asked))).toEqual(new Set([0]));
});

it("never answers whoever asks after it began, and is never made twice at once", async () => {
  const { read, answer, begun } = gates();
  const share = createSharedReads<number>();
  const first = share("a", read);
  await expect.poll(begun).toBe(1);
  const later = [share("a", read), share("a", read)];
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(begun()).toBe(1);
  answer(0);
  expect(await first).toBe(0);
  await expect.poll(begun).toBe(2);
  answer(1);
  expect(await Promise.all(later)).toEqual([1, 1]);
});

it("fails for those alone who shared it", async () => {
  const { read, answer, fail, begun } = gates();
  const share = createSharedReads<number>();
  const failing = [share("a", read), share("a", read)];
  await expect.poll(begun).toBe(1);
  const next = share("a", read);
  fail(0);
  expect((await Promise.allSettled(failing)).map(({ status }) => status)).toEqual(["rejected", "rejected"]);
  await expect.poll(begun).toBe(2);
  answer(1);
  expect(await next).toBe(1);
});

it("is shared by nobody who asks something else", async () => {
  const { read, begun } = gates();
  const share = createSharedReads<number>();
  void share("a", read);
  void share("b", read);
  await expect.poll(begun).toBe(2);
});
