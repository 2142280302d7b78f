/** What the simulated person stores, with fields of several kinds, and how they change it. */
import { KINDS as LIGHT_KINDS, positionAt, type Json, type KindName } from "@continuo/merge";
import { STATES } from "@continuo/merge/protocol";
import { load, text, TEXT_NAME } from "@continuo/merge/text";
import { defineNamespace } from "@continuo/namespace";
import type { UnitName } from "../entry/unit.ts";
import { namespaceOf, type Namespaces } from "../namespace/namespace.ts";
import type { Random } from "./random.ts";

export const FIELDS = {
  title: "REGISTER",
  plays: "COUNTER",
  furthest: "MAX",
  tags: "SET",
  queue: "LIST",
  position: "PROGRESS",
  note: "DRAFT",
  info: "MAP",
  letter: "TEXT",
  flash: "REGISTER",
  streak: "COUNTER",
} as const satisfies Record<string, KindName>;
export type Field = keyof typeof FIELDS;
/** The fields of the TTL namespace. */
export const BRIEF_FIELDS: readonly Field[] = ["flash", "streak"];
/** All durable fields except the text, which needs Yjs. */
export const PLAIN_FIELDS: readonly Field[] = [
  "title",
  "plays",
  "furthest",
  "tags",
  "queue",
  "position",
  "note",
  "info",
];
export const ALL_FIELDS: readonly Field[] = [...PLAIN_FIELDS, "letter"];
/** Some durable fields, and the fields that expire. */
export const PASSING_FIELDS: readonly Field[] = ["title", "info", "note", ...BRIEF_FIELDS];
type SimulatedKind = (typeof FIELDS)[Field];
export const KINDS = { ...LIGHT_KINDS, TEXT: text };

const described = (fields: readonly Field[]) =>
  Object.fromEntries(fields.map((field) => [field, { kind: FIELDS[field], schema: {} }]));

/** As `defineNamespace` makes it. */
export const DEFINITION = defineNamespace({ name: "life", version: 1, fields: described(ALL_FIELDS) });
export const BRIEF = defineNamespace({
  name: "brief",
  version: 1,
  fields: described(BRIEF_FIELDS),
  persistence: "TTL",
  ttlSeconds: 10,
});
/** How long a unit of a brief field is kept after its last change. */
export const BRIEF_MS = (BRIEF.ttlSeconds ?? 0) * 1_000;
const published = [DEFINITION, BRIEF].map((definition) => namespaceOf([{ revision: 1, definition }]));
export const NAMES: readonly string[] = published.map(({ name }) => name);
/** There are no others. */
export const NAMESPACES: Namespaces = {
  all: async () => [...published],
  find: async () => new Map(published.map((namespace) => [namespace.name, namespace])),
};

export function isBrief(field: string): boolean {
  return BRIEF_FIELDS.some((each) => each === field);
}

/** The unit of a field, whichever namespace that is in. */
export function unitOf(key: string, field: string): UnitName {
  return { namespace: isBrief(field) ? BRIEF.name : DEFINITION.name, key, field };
}

const INTENTS = ["PLAY", "SEEK", "PAUSE", "FINISH", "PASSIVE"] as const;
const MEMBERS = ["m0", "m1", "m2"];

type Payload = { readonly type: string } & { readonly [name: string]: Json };

/** A random payload for a unit that its author sees as `stateOf()`; each `token` is used once. */
export function payloadOf(random: Random, kind: SimulatedKind, token: number, stateOf: () => Json): Payload {
  switch (kind) {
    case "COUNTER":
      return { type: "ADD", delta: 1 + random.below(9) };
    case "MAX":
      return { type: "SET", value: random.below(1_000) };
    case "SET":
      return { type: random.chance(0.6) ? "ADD" : "REMOVE", element: `t${random.below(4)}` };
    case "LIST":
      return { type: "INSERT", id: `i${token}`, value: token, position: positionAt([], 0) };
    case "PROGRESS":
      return {
        type: "REPORT",
        epoch: 0,
        position: random.below(7_200),
        duration: 7_200,
        unit: "SECONDS",
        intent: random.pick(INTENTS),
      };
    case "DRAFT": {
      const { generation } = STATES.DRAFT.parse(stateOf());
      if (random.chance(0.2)) return { type: "SUBMIT", generation, idempotencyKey: `k${token}` };
      return { type: "EDIT", generation, name: "body", value: `d${token}` };
    }
    case "MAP":
      if (random.chance(0.1)) return { type: "DELETE" };
      if (random.chance(0.2)) return { type: "UNSET", name: random.pick(MEMBERS) };
      return { type: "SET", name: random.pick(MEMBERS), value: `p${token}` };
    case "TEXT":
      return writing(random, token, stateOf());
    case "REGISTER":
      return random.chance(0.3) ? { type: "DELETE" } : { type: "SET", value: `v${token}` };
  }
}

/** Inserts or removes a word somewhere in a text, or ends the text. */
function writing(random: Random, token: number, state: Json): Payload {
  const { generation } = STATES.TEXT.parse(state);
  if (random.chance(0.05)) return { type: "RESET", generation };
  const words = wordsOf(state);
  const document = load(STATES.TEXT.parse(state));
  document.clientID = random.below(2 ** 32);
  let update = "";
  document.on("updateV2", (made) => (update = Buffer.from(made).toString("base64")));
  const written = document.getText(TEXT_NAME);
  if (words.length > 0 && random.chance(0.3)) {
    const word = random.pick(words);
    written.delete(word.from, word.length);
    return { type: "UPDATE", generation, update, removes: word.token };
  }
  const place = words[random.below(words.length + 1)]?.from ?? written.length;
  written.insert(place, `[${token}]`);
  return { type: "UPDATE", generation, update, inserts: token };
}

/** The words of a text; each is the token of the change that wrote it. */
export function wordsOf(state: Json): { readonly token: number; readonly from: number; readonly length: number }[] {
  const written = text.view(STATES.TEXT.parse(state))?.text ?? "";
  return [...written.matchAll(/\[(\d+)\]/g)].map(({ 0: word, 1: token, index }) => ({
    token: Number(token),
    from: index,
    length: word.length,
  }));
}
