/** SYNC.md documents the code completely and accurately. */
import { ERROR_CODES } from "@continuo/errors";
import { KIND_NAMES } from "@continuo/merge";
import * as protocol from "@continuo/merge/protocol";
import { buildSchema, loadTypeDefs } from "@continuo/subgraph";
import { isEnumType, isInputObjectType, isObjectType, parse, validate } from "graphql";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { z } from "zod";

const PAGE = readFileSync(join(import.meta.dirname, "../SYNC.md"), "utf8");
const schema = buildSchema(loadTypeDefs(import.meta.dirname), {});

/** Code blocks of a language, with the text after the language name. */
const blocks = (language: string): { about: string; text: string }[] =>
  [...PAGE.matchAll(/^```(\S+) ?(.*)\n([^]*?)^```$/gm)].flatMap(([, found, about = "", text = ""]) =>
    found === language ? [{ about, text }] : [],
  );

const enumValues = (name: string): string[] => {
  const type = schema.getType(name);
  return isEnumType(type) ? type.getValues().map((value) => value.name) : [];
};

/** Every constant in the schemas of payloads: types, intents, units. */
const words = new Set(
  Object.values(protocol.PAYLOADS).flatMap((payload) =>
    [...JSON.stringify(z.toJSONSchema(payload, { unrepresentable: "any" })).matchAll(/"([A-Z][A-Z_]+)"/g)].map(
      ([, word = ""]) => word,
    ),
  ),
);

const TOLD = [
  ...["OpStatus", "StopReason", "ResetReason"].flatMap(enumValues),
  ...protocol.REJECT_REASONS,
  ...protocol.REQUEST_REJECT_REASONS,
  ...KIND_NAMES,
  ...words,
];
const KNOWN = new Set<string>([...TOLD, ...ERROR_CODES, "INPUT_INVALID", "VARIABLES_INVALID", "BODY_TOO_LARGE"]);

describe("SYNC.md", () => {
  it.each([...new Set(TOLD)].map((word) => [word]))("names %s", (word) => {
    expect(PAGE).toMatch(new RegExp(`\\b${word}\\b`));
  });

  it("names nothing that does not exist", () => {
    const named = [...PAGE.matchAll(/`([^`\n]+)`/g)].flatMap(
      ([, code = ""]) => code.match(/\b[A-Z]{2}[A-Z_]*\b/g) ?? [],
    );
    expect([...new Set(named)].filter((word) => !KNOWN.has(word))).toEqual([]);
  });

  it("asks only what the graph answers", () => {
    const operations = blocks("graphql");
    expect(operations).toHaveLength(4);
    for (const { text } of operations) expect(validate(schema, parse(text))).toEqual([]);
  });

  it("asks for all that there is", () => {
    for (const type of [
      "StateBatch",
      "StateEntry",
      "PushStatePayload",
      "OpOutcome",
      "LostWrite",
      "FirstAnswer",
      "RelayedChange",
    ].map((name) => schema.getType(name)))
      for (const field of isObjectType(type) ? Object.keys(type.getFields()) : ["no such type"])
        expect(
          blocks("graphql")
            .map(({ text }) => text)
            .join(),
        ).toMatch(new RegExp(`^ *${field}( |$)`, "m"));
    for (const type of ["PushStateInput", "OpInput"].map((name) => schema.getType(name)))
      for (const field of isInputObjectType(type) ? Object.keys(type.getFields()) : ["no such type"])
        expect(PAGE).toMatch(new RegExp(`[\`"]${field}[\`"]`));
  });

  it("shows messages that are some", () => {
    const { StateBatch, PushRequest, PushResponse, STATES, PAYLOADS } = protocol;
    const messages: Record<string, { parse(data: unknown): unknown }> = { StateBatch, PushRequest, PushResponse };
    const shown = blocks("json");
    expect(new Set(shown.map(({ about }) => about))).toEqual(new Set(Object.keys(messages)));
    for (const { about, text } of shown) expect(() => messages[about]?.parse(JSON.parse(text))).not.toThrow();
    const batch = StateBatch.parse(JSON.parse(shown.find(({ about }) => about === "StateBatch")?.text ?? ""));
    for (const { kind, state } of batch.entries) expect(STATES[kind].safeParse(state).success).toBe(true);
    const push = PushRequest.parse(JSON.parse(shown.find(({ about }) => about === "PushRequest")?.text ?? ""));
    for (const { payload } of push.ops) expect(PAYLOADS.REGISTER.safeParse(payload).success).toBe(true);
  });

  it.each(Object.entries(protocol.STATES))("says what the state of a %s is made of", (kind, state) => {
    const rows = PAGE.split("\n").map((line) => line.split("|"));
    const told = rows.filter(([, kinds]) => kinds?.includes(`\`${kind}\``)).at(-1)?.[3];
    for (const name of Object.keys(z.toJSONSchema(state, { unrepresentable: "any" }).properties ?? {}))
      expect(told).toMatch(new RegExp(`\\b${name}\\b`));
  });

  it("has the limits of the code", () => {
    const { MAX_OPS, MAX_PUSH_BYTES, MAX_WAIT_MS, PROTOCOL_VERSION } = protocol;
    expect(PAGE).toContain(`Version ${PROTOCOL_VERSION}.`);
    expect(PAGE).toContain(`1 to ${MAX_OPS} ops, ${MAX_PUSH_BYTES / 1024} KiB`);
    expect(PAGE).toContain(`\`waitMs\` of up to ${MAX_WAIT_MS}`);
  });
});
