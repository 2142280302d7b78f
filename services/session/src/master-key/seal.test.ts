import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { createSeal } from "./seal.ts";

const [former, current] = [randomBytes(32), randomBytes(32)];
const purpose = "something 1";
const old = createSeal({ masterKeys: [former], purpose, randomBytes });
const seal = createSeal({ masterKeys: [current, former], purpose, randomBytes });
const secret = Buffer.from("a secret");

describe("a sealed secret", () => {
  it("opens in its row, also under a former master key", () => {
    expect(seal.open(seal.close(secret, "row"), "row")).toEqual(secret);
    expect(seal.open(old.close(secret, "row"), "row")).toEqual(secret);
    expect(seal.close(secret, "row")).not.toEqual(seal.close(secret, "row"));
  });

  it("is closed under the current master key alone", () => {
    expect(old.open(seal.close(secret, "row"), "row")).toBeUndefined();
  });

  it("does not open in another row, for another purpose, with a bit changed, or cut short", () => {
    const sealed = seal.close(secret, "row");
    const other = createSeal({ masterKeys: [current, former], purpose: "something else 1", randomBytes });
    expect(seal.open(sealed, "other row")).toBeUndefined();
    expect(other.open(sealed, "row")).toBeUndefined();
    for (let at = 0; at < sealed.length; at += 1) {
      const flipped = Buffer.from(sealed);
      flipped.writeUInt8(flipped.readUInt8(at) ^ 1, at);
      expect(seal.open(flipped, "row")).toBeUndefined();
      expect(seal.open(sealed.subarray(0, at), "row")).toBeUndefined();
    }
  });
});
