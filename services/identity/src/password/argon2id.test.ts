import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ARGON2_COST, createPasswordHasher } from "./argon2id.ts";

const cheap = { memoryKib: 64, passes: 1, parallelism: 1 };
const hasher = createPasswordHasher(cheap);

describe("a password hash", () => {
  test("is a PHC string at OWASP's floor unless told otherwise", async () => {
    const phc = await createPasswordHasher().hash("correct horse battery staple");
    expect(phc).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/);
    expect(ARGON2_COST.memoryKib).toBeGreaterThanOrEqual(19_456);
  });

  test("matches its password and no other, whatever Unicode they are made of", async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: "grapheme" }), fc.string({ unit: "grapheme" }), async (one, other) => {
        const phc = await hasher.hash(one);
        expect((await hasher.verify(phc, one)).matches).toBe(true);
        expect((await hasher.verify(phc, other)).matches).toBe(one === other);
      }),
      { numRuns: 50 },
    );
  });

  test("of the same password differs each time", async () => {
    expect(await hasher.hash("the same password")).not.toBe(await hasher.hash("the same password"));
  });

  test("made elsewhere by the reference implementation is understood", async () => {
    const phc = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
    expect(await hasher.verify(phc, "password")).toEqual({ matches: true, isOutdated: true });
  });

  test("of nobody never matches, and costs what somebody's does", async () => {
    const dearer = createPasswordHasher({ ...cheap, memoryKib: 128 });
    expect(await dearer.verify(null, "anything at all")).toEqual({ matches: false, isOutdated: false });
  });

  test("made at today's cost is not outdated, at any other it is", async () => {
    const phc = await hasher.hash("a password of ours");
    expect((await hasher.verify(phc, "a password of ours")).isOutdated).toBe(false);
    for (const change of [{ memoryKib: 128 }, { passes: 2 }, { parallelism: 2 }]) {
      const later = createPasswordHasher({ ...cheap, ...change });
      expect(await later.verify(phc, "a password of ours")).toEqual({ matches: true, isOutdated: true });
    }
  });

  test("that is no argon2id PHC string is a bug, not a miss", async () => {
    await expect(hasher.verify("$2b$10$abcdefghijklmnopqrstuv", "x")).rejects.toThrow("not an argon2id PHC string");
  });
});
