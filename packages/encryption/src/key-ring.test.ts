import { bech32m } from "@scure/base";
import type { Json } from "@continuo/merge";
import fc from "fast-check";
import { createDecipheriv, hkdfSync } from "node:crypto";
import { describe, expect, it } from "vitest";
import {
  changeRootKey,
  createKey,
  createRecoveryCode,
  openKeyRing,
  rootKeyOf,
  type KeyRing,
  type KeyRingOptions,
  type Sealed,
} from "./index.ts";

const PERSON = { userId: "0199a1c2-0000-7000-8000-000000000001", namespace: "journal" };
const PLACE = { key: "2026-11-30", field: "entry" };
const AT = { ms: 1_790_000_000_000, counter: 3 };

/** Someone who has just turned encryption on: what their devices open rings with, and the ring. */
async function person(): Promise<{ code: string } & KeyRingOptions> {
  const code = createRecoveryCode();
  const empty = { ...PERSON, root: await rootKeyOf(code), elements: [] };
  return { code, ...empty, elements: [await createKey(empty)] };
}

async function sealedBySomebody(value: string): Promise<{ ring: KeyRing; options: KeyRingOptions; sealed: Sealed }> {
  const options = await person();
  const ring = await openKeyRing(options);
  return { ring, options, sealed: await ring.seal(PLACE, value, AT) };
}

describe("a value", () => {
  it("is opened on every device with the recovery code, and is in nothing that leaves the first", async () => {
    const { code, ...phone } = await person();
    const typed = ` C${code.slice(1).replace(/(.{6})/g, "$1-")}\n`;
    const laptop = { ...PERSON, root: await rootKeyOf(typed), elements: phone.elements };
    const [there, here] = [await openKeyRing(laptop), await openKeyRing(phone)];
    await fc.assert(
      fc.asyncProperty(fc.jsonValue(), fc.string(), fc.string(), async (value, key, field) => {
        const sealed = await here.seal({ key, field }, json(value), AT);
        expect(await there.open({ key, field }, sealed)).toEqual(json(value));
      }),
      { numRuns: 50 },
    );
    const sealed = await here.seal(PLACE, "a canary", AT);
    expect(asBytes([sealed, phone.elements])).not.toContain("canary");
    expect(asBytes(btoa("a canary"))).toContain("canary");
  });

  it("is sealed anew each time", async () => {
    const { ring, sealed } = await sealedBySomebody("the same");
    expect(await ring.seal(PLACE, "the same", AT)).not.toMatchObject({ nonce: sealed.nonce });
  });

  it.each<[string, Partial<typeof PLACE>, Partial<Sealed>]>([
    ["of another key", { key: "2026-12-01" }, {}],
    ["of another field", { field: "title" }, {}],
    ["of a later millisecond", {}, { sealedAt: { ...AT, ms: AT.ms + 1 } }],
    ["of a later count", {}, { sealedAt: { ...AT, counter: AT.counter + 1 } }],
    ["with another nonce", {}, { nonce: "AAAAAAAAAAAAAAAA" }],
    ["without a nonce", {}, { nonce: "" }],
    ["that is no base64", {}, { ciphertext: "*" }],
    ["of nothing", {}, { ciphertext: "" }],
  ])("is not taken for one %s", async (_which, elsewhere, changes) => {
    const { ring, sealed } = await sealedBySomebody("mine");
    await expect(ring.open({ ...PLACE, ...elsewhere }, { ...sealed, ...changes })).rejects.toMatchObject({
      code: "VALUE_FORGED",
    });
  });

  it("is not taken when any bit of it was changed", async () => {
    const { ring, sealed } = await sealedBySomebody("mine");
    const bytes = Buffer.from(sealed.ciphertext, "base64");
    for (let bit = 0; bit < bytes.length * 8; bit += 7) {
      const changed = Buffer.from(bytes);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      await expect(ring.open(PLACE, { ...sealed, ciphertext: changed.toString("base64") })).rejects.toMatchObject({
        code: "VALUE_FORGED",
      });
    }
  });

  it("is not taken for one that was sealed with another version", async () => {
    const options = await person();
    const both = { ...options, elements: [...options.elements, await createKey(options)] };
    const ring = await openKeyRing(both);
    const sealed = await ring.seal(PLACE, "mine", AT);
    expect(sealed.keyVersion).toBe(2);
    await expect(ring.open(PLACE, { ...sealed, keyVersion: 1 })).rejects.toMatchObject({ code: "VALUE_FORGED" });
    await expect(ring.open(PLACE, { ...sealed, keyVersion: 3 })).rejects.toMatchObject({ code: "KEY_MISSING" });
  });

  it("can be opened by whoever knows the protocol alone", async () => {
    const { code, elements, ...options } = await person();
    const ring = await openKeyRing({ ...options, elements });
    const sealed = await ring.seal(PLACE, { mood: "fine" }, AT);

    const secret = bech32m.decodeToBytes(code).bytes;
    const root = Buffer.from(hkdfSync("sha256", secret, "", "root 1", 32));
    const [version = "", wrapped = ""] = elements[0]?.split(".") ?? [];
    const element = Buffer.from(wrapped, "base64url");
    const key = opened(root, element.subarray(0, 12), element.subarray(12), [
      "key 1",
      PERSON.userId,
      PERSON.namespace,
      Number(version),
    ]);
    const bound = ["value 1", PERSON.userId, PERSON.namespace, PLACE.key, PLACE.field, AT.ms, AT.counter, 1];
    const plain = opened(key, Buffer.from(sealed.nonce, "base64"), Buffer.from(sealed.ciphertext, "base64"), bound);
    expect(plain.toString()).toBe('{"mood":"fine"}');
  });
});

describe("a ring", () => {
  it("keeps two keys that two devices made at the same moment, and all seal with one of them", async () => {
    const { code: _, elements: __, ...options } = await person();
    const empty = { ...options, elements: [] };
    const [one, other] = await Promise.all([createKey(empty), createKey(empty)]);
    const [before, after] = [await openKeyRing({ ...options, elements: [other] }), await rings(options, [one, other])];
    const early = await before.seal(PLACE, "before they met", AT);
    for (const ring of after) expect(await ring.open(PLACE, early)).toBe("before they met");
    const [first, second] = await Promise.all(after.map((ring) => ring.seal(PLACE, "since", AT)));
    if (!first || !second) throw new Error("both have sealed");
    const newest = [one, other].toSorted().slice(-1);
    const alone = await openKeyRing({ ...options, elements: newest });
    for (const sealed of [first, second]) expect(await alone.open(PLACE, sealed)).toBe("since");
  });

  it("opens what its former keys sealed, and seals with the new one, which a device waits for", async () => {
    const { ring: lost, options, sealed } = await sealedBySomebody("of before");
    const elements = [...options.elements, await createKey(options)];
    const ring = await openKeyRing({ ...options, elements });
    expect([lost.keyVersion, ring.keyVersion]).toEqual([1, 2]);
    expect(await createKey({ ...options, elements: elements.slice(1) })).toMatch(/^3\./);
    expect(await ring.open(PLACE, sealed)).toBe("of before");
    const later = await ring.seal(PLACE, "of after", AT);
    await expect(lost.open(PLACE, later)).rejects.toMatchObject({ code: "KEY_MISSING" });
  });

  it("seals with the highest version, the tenth after the ninth", async () => {
    let options = await person();
    for (let made = 2; made <= 10; made += 1)
      options = { ...options, elements: [await createKey(options), ...options.elements] };
    expect((await openKeyRing(options)).keyVersion).toBe(10);
  });

  it("goes over to another recovery code: that opens all there was, and the former nothing that comes", async () => {
    const { code: _, ...lost } = await person();
    const before = { ...lost, elements: [...lost.elements, await createKey(lost)] };
    const [early, late] = await Promise.all(
      [lost, before].map(async (at) => (await openKeyRing(at)).seal(PLACE, 1, AT)),
    );
    const root = await rootKeyOf(createRecoveryCode());
    const { add, remove } = await changeRootKey(before, root);
    expect(remove.toSorted()).toEqual(before.elements.toSorted());
    const ring = await openKeyRing({ ...before, root, elements: add });
    for (const sealed of [early, late]) expect(sealed && (await ring.open(PLACE, sealed))).toBe(1);
    const since = await ring.seal(PLACE, 2, AT);
    expect(since.keyVersion).toBe(3);
    await expect(openKeyRing({ ...before, elements: add })).rejects.toMatchObject({ code: "ROOT_KEY_WRONG" });
    const both = await openKeyRing({ ...before, elements: [...before.elements, ...add] });
    await expect(both.open(PLACE, since)).rejects.toMatchObject({ code: "KEY_MISSING" });
    await expect(changeRootKey({ ...before, root }, root)).rejects.toMatchObject({ code: "ROOT_KEY_WRONG" });
  });

  it("is not begun anew by whoever has another recovery code, so nothing is sealed that others cannot open", async () => {
    const options = await person();
    const stranger = { ...options, root: await rootKeyOf(createRecoveryCode()) };
    for (const attempt of [openKeyRing(stranger), createKey(stranger)])
      await expect(attempt).rejects.toMatchObject({ code: "ROOT_KEY_WRONG" });
  });

  it.each([
    ["person", { userId: "0199a1c2-0000-7000-8000-000000000002" }],
    ["namespace", { namespace: "journals" }],
  ])("is not taken for that of another %s", async (_which, elsewhere) => {
    await expect(openKeyRing({ ...(await person()), ...elsewhere })).rejects.toMatchObject({ code: "ROOT_KEY_WRONG" });
  });

  it("has no key before the first, and takes no notice of what is none", async () => {
    const options = await person();
    await expect(openKeyRing({ ...options, elements: [] })).rejects.toMatchObject({ code: "KEY_MISSING" });
    const strange = ["", "7", "0.AAAA", `9.${"A".repeat(80)}`, `1000000000.${"A".repeat(80)}`];
    const ring = await openKeyRing({ ...options, elements: [...strange, ...options.elements] });
    expect(ring.keyVersion).toBe(1);
  });

  it("has elements that a SET takes", async () => {
    const { elements } = await person();
    expect(elements[0]).toMatch(/^1\.[\w-]{80}$/);
  });
});

describe("a recovery code", () => {
  it("is new each time, and refused when one letter of it is another, or missing", async () => {
    const code = createRecoveryCode();
    expect(code).toMatch(/^continuo1[a-z0-9]{58}$/);
    expect(createRecoveryCode()).not.toBe(code);
    for (let at = 0; at < code.length; at += 1) {
      const other = code[at] === "q" ? "p" : "q";
      for (const typed of [code.slice(0, at) + other + code.slice(at + 1), code.slice(0, at) + code.slice(at + 1)])
        await expect(rootKeyOf(typed)).rejects.toMatchObject({ code: "RECOVERY_CODE_INVALID" });
    }
  });

  it.each([
    ["nothing", ""],
    ["that of another program", bech32m.encodeFromBytes("other", new Uint8Array(32))],
    ["a shorter secret", bech32m.encodeFromBytes("continuo", new Uint8Array(16))],
  ])("is not %s", async (_what, text) => {
    await expect(rootKeyOf(text)).rejects.toMatchObject({ code: "RECOVERY_CODE_INVALID" });
  });
});

function rings(options: Omit<KeyRingOptions, "elements">, elements: readonly string[]): Promise<KeyRing[]> {
  return Promise.all([elements, elements.toReversed()].map((some) => openKeyRing({ ...options, elements: some })));
}

function opened(key: Buffer, nonce: Buffer, sealed: Buffer, context: readonly unknown[]): Buffer {
  const decipher = createDecipheriv("aes-256-gcm", key, nonce);
  decipher.setAAD(Buffer.from(JSON.stringify(context))).setAuthTag(sealed.subarray(-16));
  return Buffer.concat([decipher.update(sealed.subarray(0, -16)), decipher.final()]);
}

/** As it comes back from JSON. */
function json(value: unknown): Json {
  return JSON.parse(JSON.stringify(value));
}

/** All texts in it, as what they say in base64. */
function asBytes(value: unknown): string {
  return JSON.stringify(value, (_, text) =>
    typeof text === "string" ? Buffer.from(text, "base64").toString("latin1") : text,
  );
}
