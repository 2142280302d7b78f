import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { CLIENT_SECRET_PREFIX, createClientSecret, isSecret } from "./application.ts";

const { secret, secretHash } = createClientSecret(randomBytes);

describe("a client secret", () => {
  it("has 256 random bits, a prefix for scanners, and is kept as a hash", () => {
    expect(secret).toMatch(new RegExp(`^${CLIENT_SECRET_PREFIX}[\\w-]{43}$`));
    expect(secretHash).toHaveLength(32);
    expect(createClientSecret(randomBytes).secret).not.toBe(secret);
    expect([secret, `${secret}x`, ""].map((shown) => isSecret(shown, secretHash))).toEqual([true, false, false]);
  });
});
