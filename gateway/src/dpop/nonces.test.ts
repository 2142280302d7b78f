import { generateKey } from "@continuo/access";
import { expect, test } from "vitest";
import { createNonces, NONCE_LIFE_MS } from "./nonces.ts";

const { privateJwk, publicJwk } = await generateKey("Ed25519");
const clock = (start: number): { now: () => number; forward: (ms: number) => void } => {
  let at = start;
  return { now: () => at, forward: (ms) => void (at += ms) };
};

test("a nonce is good for a minute at least and for less than two, wherever in its minute it was given out", () => {
  for (const offset of [0, 1, 30_000, 59_999]) {
    const { now, forward } = clock(1_790_000_040_000 + offset);
    const nonces = createNonces(privateJwk, now);
    const nonce = nonces.current();
    forward(60_000);
    expect(nonces.accepts(nonce)).toBe(true);
    forward(NONCE_LIFE_MS - 60_000);
    expect(nonces.accepts(nonce)).toBe(false);
  }
});

test("every replica accepts what another gave out, and nothing that another key made", async () => {
  const { now } = clock(1_790_000_000_000);
  const nonce = createNonces(privateJwk, now).current();
  expect(createNonces(privateJwk, now).accepts(nonce)).toBe(true);
  expect(createNonces((await generateKey("Ed25519")).privateJwk, now).accepts(nonce)).toBe(false);
});

test("nonces of different minutes do not resemble each other, and none is taken for another", () => {
  const { now, forward } = clock(1_790_000_000_000);
  const nonces = createNonces(privateJwk, now);
  const seen = Array.from({ length: 50 }, () => {
    forward(60_000);
    return nonces.current();
  });
  expect(new Set(seen).size).toBe(50);
  expect(seen.filter((nonce) => nonces.accepts(nonce))).toEqual(seen.slice(-2));
  for (const bad of ["", `${seen.at(-1)}x`, "é"]) expect(nonces.accepts(bad)).toBe(false);
});

test("a public key makes no nonces", () => {
  expect(() => createNonces(publicJwk)).toThrow(TypeError);
});
