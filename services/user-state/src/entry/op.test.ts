import { defineNamespace, register } from "@continuo/namespace";
import { expect, it } from "vitest";
import { z } from "zod";
import { namespaceOf } from "../namespace/namespace.ts";
import { validateOp } from "./op.ts";

const definition = defineNamespace({
  name: "notes",
  version: 1,
  fields: { any: register(z.json()), strict: register(z.strictObject({ title: z.string() })) },
});
const NAMESPACES = new Map([["notes", namespaceOf([{ revision: 1, definition }])]]);

/** Why a value is refused. */
function faultOf(field: string, value: unknown) {
  const validated = validateOp(
    {
      seq: 1,
      namespace: "notes",
      key: "k",
      field,
      payload: { type: "SET", value },
      stamp: { ms: 1, counter: 0 },
      seen: null,
      baseRev: 0,
      schemaVersion: 1,
    },
    NAMESPACES,
  );
  return "fault" in validated ? validated.fault : undefined;
}

it("is refused for a value of any depth, and for no more than its depth", () => {
  for (const depth of [65, 66, 100_000]) {
    const value: unknown = JSON.parse("[".repeat(depth) + "]".repeat(depth));
    expect(faultOf("any", value)?.reason).toBe("VALUE_INVALID");
  }
});

it("is not larger than its digits say", () => {
  expect(faultOf("any", Array(200).fill(1e300))).toBeUndefined();
  expect(faultOf("any", Array(300).fill(1e300))?.reason).toBe("VALUE_TOO_LARGE");
});

it("is refused in few words, whatever it names, and in whole characters", () => {
  for (const before of ["", "x"]) {
    const fault = faultOf("strict", { title: "", [before + "😀".repeat(10_000)]: 1 });
    expect(fault?.reason).toBe("VALUE_INVALID");
    expect(fault?.message.length).toBeLessThanOrEqual(1_000);
    expect(fault?.message.isWellFormed()).toBe(true);
  }
});
