import { randomBytes } from "node:crypto";
import { expect, it } from "vitest";
import { NAMESPACES } from "../simulation/life.ts";
import { createRelay, MAX_A_SECOND } from "./relay.ts";
import { createSeals } from "./seal.ts";

it("so many changes of each person are relayed in a second, and as many in the next", () => {
  let now = 0;
  const seals = createSeals(randomBytes(32), () => now);
  const relay = createRelay({ seals, namespaces: NAMESPACES, send: () => undefined, now: () => now });
  const admitted = (userId: string): number =>
    Array.from({ length: MAX_A_SECOND + 1 }, () => relay.admits(userId)).filter(Boolean).length;
  expect([admitted("ada"), admitted("alan")]).toEqual([MAX_A_SECOND, MAX_A_SECOND]);
  now = 999;
  expect(relay.admits("ada")).toBe(false);
  now = 1_000;
  expect(admitted("ada")).toBe(MAX_A_SECOND);
});
