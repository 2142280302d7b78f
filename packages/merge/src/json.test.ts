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

test("a number is counted with all its digits, however few its author needed", () => {
  const plain: [number, string][] = [
    [1e300, `1${"0".repeat(300)}`],
    [-1.5e21, "-1500000000000000000000"],
    [1e-7, "0.0000001"],
    [-1.25e-9, "-0.00000000125"],
    [5e-324, `0.${"0".repeat(323)}5`],
    [0.1, "0.1"],
    [123_456, "123456"],
  ];
  for (const [number, text] of plain) {
    expect(Number(text)).toBe(number);
    expect(jsonBytes({ a: [number, "1e-7"] })).toBe(`{"a":[${text},"1e-7"]}`.length);
  }
});
