/** For tests: a payload of each kind from a random number, such as a client that knows a state would send. */
import { generateNKeysBetween } from "fractional-indexing";
import * as Y from "yjs";
import { toBase64 } from "./base64.ts";
import type { Payload } from "./payload.ts";
import type { State } from "./state.ts";
import { load, TEXT_NAME } from "./text.ts";

/** Few names, so that ops meet. */
const NAMES = ["a", "b", "__proto__"];
const POSITIONS = generateNKeysBetween(null, null, 7);
const LONG = "the quick brown fox jumps over the lazy dog and then some ";

/** Takes one of `options` by the low digits of `choice`, and leaves the rest. */
function pick<Option>(choice: number, options: readonly Option[]): [Option, number] {
  const option = options[choice % options.length];
  if (option === undefined) throw new RangeError("no options");
  return [option, Math.floor(choice / options.length)];
}

export const payloads = {
  REGISTER: (choice: number): Payload<"REGISTER"> =>
    choice % 5 === 0 ? { type: "DELETE" } : { type: "SET", value: { number: choice % 7, names: NAMES } },
  MAX: (choice: number): Payload<"MAX"> => ({ type: "SET", value: (choice % 9) - 4 }),
  MIN: (choice: number): Payload<"MIN"> => ({ type: "SET", value: (choice % 9) - 4 }),
  COUNTER: (choice: number): Payload<"COUNTER"> => ({ type: "ADD", delta: (choice % 9) - 4 }),
  SET: (choice: number): Payload<"SET"> => {
    const [type, rest] = pick(choice, ["ADD", "ADD", "REMOVE", "DELETE"] as const);
    return type === "DELETE" ? { type } : { type, element: pick(rest, NAMES)[0] };
  },
  MAP: (choice: number): Payload<"MAP"> => {
    const [type, rest] = pick(choice, ["SET", "SET", "UNSET", "DELETE"] as const);
    const [name, value] = pick(rest, NAMES);
    return type === "DELETE" ? { type } : type === "UNSET" ? { type, name } : { type, name, value };
  },
  LIST: (choice: number): Payload<"LIST"> => {
    const [type, rest] = pick(choice, ["INSERT", "INSERT", "MOVE", "SET", "REMOVE", "DELETE"] as const);
    const [id, more] = pick(rest, NAMES);
    const [position, value] = pick(more, POSITIONS);
    if (type === "DELETE") return { type };
    if (type === "REMOVE") return { type, id };
    if (type === "INSERT") return { type, id, value, position };
    return type === "MOVE" ? { type, id, position } : { type, id, value };
  },
  PROGRESS: (choice: number, { epoch, ...known }: State<"PROGRESS">): Payload<"PROGRESS"> => {
    // Some hold a lease.
    const fence = choice % 3 === 0 ? { fence: known.fence ?? 0 } : {};
    const [type, rest] = pick(choice, ["REPORT", "REPORT", "REPORT", "REPORT", "RESTART"] as const);
    if (type === "RESTART") return { type, epoch: epoch + 1, ...fence };
    const [intent, position] = pick(rest, ["PLAY", "SEEK", "PAUSE", "FINISH", "PASSIVE", "PASSIVE"] as const);
    return { type, epoch, position: (position % 9) * 700, duration: 7000, unit: "SECONDS", intent, ...fence };
  },
  DRAFT: (choice: number, { generation, copies }: State<"DRAFT">): Payload<"DRAFT"> => {
    const [type, rest] = pick(choice, ["EDIT", "EDIT", "EDIT", "SUBMIT", "DISCARD", "DISMISS_COPY"] as const);
    const [copy] = copies;
    if (type === "DISMISS_COPY" && copy !== undefined) return { type, copy: copy.stamp };
    if (type === "SUBMIT") return { type, generation, idempotencyKey: "key" };
    if (type === "DISCARD") return { type, generation };
    const [name, value] = pick(rest, NAMES);
    return { type: "EDIT", generation, name, value: value % 3 === 0 ? value : `${value} ${LONG} ${value}` };
  },
  TEXT: (choice: number, known: State<"TEXT">, replica: number): Payload<"TEXT"> => {
    const { generation } = known;
    if (choice % 7 === 0) return { type: "RESET", generation };
    const document = load(known);
    document.clientID = replica + 1;
    const before = Y.encodeStateVector(document);
    const shared = document.getText(TEXT_NAME);
    const at = choice % (shared.length + 1);
    if (choice % 3 === 0 && at < shared.length) shared.delete(at, 1);
    else shared.insert(at, `${choice} ${replica}`, choice % 2 === 0 ? { bold: true } : {});
    return { type: "UPDATE", generation, update: toBase64(Y.encodeStateAsUpdateV2(document, before)) };
  },
  OPAQUE: (choice: number): Payload<"OPAQUE"> =>
    choice % 5 === 0
      ? { type: "DELETE" }
      : {
          type: "SET",
          value: {
            keyVersion: 1,
            nonce: "AAAA",
            ciphertext: btoa(`sealed ${choice}`),
            sealedAt: { ms: choice, counter: 0 },
          },
        },
};
