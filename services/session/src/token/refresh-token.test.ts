import { randomBytes } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createRefreshTokenCodec, type RefreshTokenCodec, type RefreshTokenParts } from "./refresh-token.ts";

const masterKey = randomBytes(32);
const codec = createRefreshTokenCodec([masterKey]);
const bytes = (length: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ minLength: length, maxLength: length }).map((array) => Buffer.from(array));
const parts: fc.Arbitrary<RefreshTokenParts> = fc.record({
  grantId: fc.uuid({ version: [4, 7] }),
  generation: fc.integer({ min: 1, max: 2_147_483_647 }),
  keyId: fc.constant(codec.currentKeyId),
  salt: bytes(16),
});

/** A random master key whose codec is as wanted. */
function otherKey(isWanted: (codec: RefreshTokenCodec) => boolean): Buffer {
  for (;;) {
    const key = randomBytes(32);
    if (isWanted(createRefreshTokenCodec([key]))) return key;
  }
}

describe("a refresh token", () => {
  it("says what it was made of", () => {
    fc.assert(
      fc.property(parts, (given) => {
        expect(codec.decode(codec.encode(given))).toEqual(given);
      }),
    );
  });

  it("is the same each time, so that a lost reply can be given again", () => {
    fc.assert(
      fc.property(parts, (given) => {
        expect(codec.encode(given)).toBe(codec.encode({ ...given }));
      }),
    );
  });

  it("differs for each generation, grant and salt", () => {
    fc.assert(
      fc.property(parts, parts, (one, other) => {
        fc.pre(JSON.stringify(one) !== JSON.stringify(other));
        expect(codec.encode(one)).not.toBe(codec.encode(other));
      }),
    );
  });

  it("is refused with any character changed, added or missing", () => {
    const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/= \n";
    fc.assert(
      fc.property(parts, fc.nat(), fc.constantFrom(...alphabet.split("")), (given, at, character) => {
        const token = codec.encode(given);
        const place = at % token.length;
        fc.pre(token[place] !== character);
        expect(codec.decode(token.slice(0, place) + character + token.slice(place + 1))).toBeUndefined();
        expect(codec.decode(token.slice(0, place) + character + token.slice(place))).toBeUndefined();
        expect(codec.decode(token.slice(0, place) + token.slice(place + 1))).toBeUndefined();
      }),
    );
  });

  it("is refused when it was made under another master key, even with the rest right", () => {
    const stranger = createRefreshTokenCodec([otherKey(({ currentKeyId }) => currentKeyId === codec.currentKeyId)]);
    fc.assert(
      fc.property(parts, (given) => {
        expect(codec.decode(stranger.encode(given))).toBeUndefined();
      }),
    );
  });

  it("is recognised under each master key that is still known, and no other", () => {
    const newer = otherKey(({ currentKeyId }) => currentKeyId !== codec.currentKeyId);
    const both = createRefreshTokenCodec([newer, masterKey]);
    fc.assert(
      fc.property(parts, (given) => {
        expect(both.decode(codec.encode(given))).toEqual(given);
        const token = both.encode({ ...given, keyId: both.currentKeyId });
        expect(both.decode(token)?.keyId).toBe(both.currentKeyId);
        expect(codec.decode(token)).toBeUndefined();
      }),
    );
  });

  it("is not made where two master keys have one id: one's tokens would be refused for the other's sake", () => {
    const twin = otherKey(({ currentKeyId }) => currentKeyId === codec.currentKeyId);
    expect(() => createRefreshTokenCodec([twin, masterKey])).toThrow(RangeError);
  });

  it.each(["", "cnt_rt_", "junk", `cnt_rt_${"A".repeat(99)}`, "A".repeat(106)])("is not %j", (junk) => {
    expect(codec.decode(junk)).toBeUndefined();
  });
});
