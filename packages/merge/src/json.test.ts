import fc from "fast-check";
import { expect, test } from "vitest";
import { jsonBytes, utf8Bytes } from "./json.ts";

test("a text is counted in bytes of UTF-8, whatever is in it", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      expect(utf8Bytes(text)).toBe(Buffer.byteLength(text));
      expect(jsonBytes({ [text]: [text] })).toBe(Buffer.byteLength(JSON.stringify({ [text]: [text] })));
    }),
  );
  expect([utf8Bytes(""), utf8Bytes("\u007f"), utf8Bytes("\u0080"), utf8Bytes("\uffff"), utf8Bytes("😀")]).toEqual([
    0, 1, 2, 3, 4,
  ]);
});
