import { randomBytes, randomUUID } from "node:crypto";
import { describe, expect, it } from "vitest";
import { MAX_RELAY_BYTES } from "@continuo/signals";
import { MAX_RELAYED_BYTES } from "../entry/op.ts";
import type { RelayedChange } from "./relay.ts";
import { createSeals, SEAL_LIFE_MS } from "./seal.ts";

const ADA = randomUUID();
const CHANGE: RelayedChange = {
  namespace: "n".repeat(64),
  key: "",
  field: "",
  kind: "PROGRESS",
  payload: "y".repeat(MAX_RELAYED_BYTES - JSON.stringify(["", "", ""]).length),
  stamp: { ms: Number.MAX_SAFE_INTEGER, counter: 65_535, clientId: randomUUID() },
  schemaVersion: 1_000_000,
  device: { id: randomUUID() },
};

describe("a seal", () => {
  const secret = randomBytes(32);
  let now = Date.now();
  const seals = createSeals(secret, () => now);

  it("is opened for the person it was made for, by whoever has the secret, and shows nothing before", () => {
    const sealed = seals.seal(ADA, CHANGE);
    expect(createSeals(secret, Date.now).open(ADA, sealed)).toEqual(CHANGE);
    expect(Buffer.from(sealed, "base64url").toString("latin1")).not.toContain("yyy");
    expect(seals.seal(ADA, CHANGE)).not.toBe(sealed);
  });

  it("stays shut for anybody else, for another secret, and when a bit of it is another", () => {
    const sealed = seals.seal(ADA, CHANGE);
    expect(seals.open(randomUUID(), sealed)).toBeUndefined();
    expect(createSeals(randomBytes(32), Date.now).open(ADA, sealed)).toBeUndefined();
    const bytes = Buffer.from(sealed, "base64url");
    for (const at of [0, 8, 15, 25, 40, bytes.length - 1]) {
      const other = Buffer.from(bytes);
      other.writeUInt8(other.readUInt8(at) ^ 1, at);
      expect(seals.open(ADA, other.toString("base64url")), `byte ${at}`).toBeUndefined();
    }
    for (const nonsense of ["", "AQ", "nonsense!", sealed.slice(0, 60)])
      expect(seals.open(ADA, nonsense)).toBeUndefined();
  });

  it("is good for 30 s", () => {
    const sealed = seals.seal(ADA, CHANGE);
    now += SEAL_LIFE_MS;
    expect(seals.open(ADA, sealed)).toEqual(CHANGE);
    now += 1;
    expect(seals.open(ADA, sealed)).toBeUndefined();
    // By a process whose clock is behind, too.
    now -= 2 * SEAL_LIFE_MS + 1;
    expect(seals.open(ADA, sealed)).toEqual(CHANGE);
    now -= 1;
    expect(seals.open(ADA, sealed)).toBeUndefined();
  });

  it("of the largest change is what a relay carries", () => {
    expect(seals.seal(ADA, CHANGE).length).toBeLessThanOrEqual(MAX_RELAY_BYTES);
  });
});
