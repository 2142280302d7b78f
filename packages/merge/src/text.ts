/**
 * Long or rich text that several devices edit concurrently: a Yjs document. A separate entry point, because Yjs is
 * larger than everything else here and most applications do not need it.
 */
import * as Y from "yjs";
import { fromBase64, toBase64 } from "./base64.ts";
import { isJson, type Json } from "./json.ts";
import type { Applied, Kind } from "./kind.ts";
import type { TextPayload } from "./payload.ts";
import type { TextState } from "./state.ts";

/** The name under which a document holds its text (`doc.getText(TEXT_NAME)`). */
export const TEXT_NAME = "text";

export type TextView = {
  readonly generation: number;
  readonly text: string;
  /**
   * The formatted text in Quill's delta format, as Yjs produces it; null if that is far longer than the text's state.
   */
  readonly delta: Json;
};

/** The largest compacted document, in bytes. */
export const MAX_DOCUMENT_BYTES = 1024 * 1024;
/** Updates are compacted once there are this many, or this many characters of base64. */
export const MAX_UPDATES = 200;
export const MAX_UPDATES_CHARACTERS = 256 * 1024;

/**
 * Limits of a delta's length: relative to its state, and absolute. Every piece of a delta repeats all its formats, so a
 * few kilobytes of updates could produce gigabytes.
 */
const MAX_DELTA_RATIO = 16;
const MAX_DELTA_CHARACTERS = 2 * 1024 * 1024;

/**
 * Updates are appended, and occasionally compacted by loading the document and re-encoding it: only a loaded document
 * drops the content of deleted text (`mergeUpdates` keeps it). Id ranges of the deleted text remain, plus a few bytes
 * per editing session; only a new generation sheds those. So a document is bounded by MAX_DOCUMENT_BYTES: updates that
 * would grow it beyond are rejected; those that shrink it, and RESET, are not.
 */
export const text: Kind<TextState, TextPayload, TextView> = {
  name: "TEXT",
  initial: { generation: 0, document: null, updates: [] },
  maxStateBytes: Math.ceil(MAX_DOCUMENT_BYTES / 3) * 4 + 2 * MAX_UPDATES_CHARACTERS,
  apply(state, payload, { stamp }) {
    const { generation } = state;
    if (payload.generation > generation)
      return { outcome: "REJECTED", state, losers: [], reason: "GENERATION_UNKNOWN" };
    if (payload.type === "RESET") {
      if (payload.generation < generation) return { outcome: "SUPERSEDED", state, losers: [] };
      return { outcome: "APPLIED", state: { generation: generation + 1, document: null, updates: [] }, losers: [] };
    }
    const { update } = payload;
    if (payload.generation < generation)
      return { outcome: "SUPERSEDED", state, losers: [{ name: null, value: update, deleted: false, stamp }] };
    const document = takeDocument(state);
    const effect = effectOf(document, update);
    if (effect === "BROKEN") return { outcome: "REJECTED", state, losers: [], reason: "UPDATE_INVALID" };
    const applied: Applied<TextState> =
      effect === "NOTHING" ? { outcome: "NOOP", state, losers: [] } : append(state, update);
    if (applied.outcome !== "REJECTED") documents.set(applied.state, document);
    return applied;
  },
  view(state) {
    if (state.document === null && state.updates.length === 0) return undefined;
    const document = load(state);
    const delta = deltaOf(document, Math.min(MAX_DELTA_CHARACTERS, MAX_DELTA_RATIO * JSON.stringify(state).length));
    return { generation: state.generation, text: document.getText(TEXT_NAME).toJSON(), delta };
  },
  standing: () => [],
  join(state, other) {
    if (other.generation !== state.generation) return other.generation > state.generation ? other : state;
    const updates = other.document === null ? other.updates : [other.document, ...other.updates];
    const document = load(state);
    const effects = updates.map((update) => effectOf(document, update));
    if (effects.includes("BROKEN")) throw new RangeError("this is no text, or builds on what is not in it");
    if (!effects.includes("CHANGE")) return state;
    return { ...state, document: toBase64(Y.encodeStateAsUpdateV2(document)), updates: [] };
  },
  expire({ generation, document, updates }) {
    const isEmpty = document === null && updates.length === 0;
    return { generation: isEmpty ? generation : generation + 1, document: null, updates: [] };
  },
};

/** Loads the document of a state. */
export function load({ document, updates }: TextState): Y.Doc {
  const loaded = new Y.Doc();
  loaded.transact(() => {
    for (const update of document === null ? updates : [document, ...updates])
      Y.applyUpdateV2(loaded, fromBase64(update));
  });
  return loaded;
}

/** Documents of states that `apply` just produced or read, so that a run of updates loads its document once. */
const documents = new WeakMap<TextState, Y.Doc>();

/** Takes the document of a state out of the cache, because the caller changes it. */
function takeDocument(state: TextState): Y.Doc {
  const document = documents.get(state) ?? load(state);
  documents.delete(state);
  return document;
}

/** Re-encodes the document without its editing history. */
export function compact(state: TextState): TextState {
  if (state.updates.length === 0) return state;
  return { ...state, document: toBase64(Y.encodeStateAsUpdateV2(load(state))), updates: [] };
}

function append(state: TextState, update: string): Applied<TextState> {
  const longer = { ...state, updates: [...state.updates, update] };
  const characters = longer.updates.reduce((sum, { length }) => sum + length, 0);
  if (longer.updates.length < MAX_UPDATES && characters <= MAX_UPDATES_CHARACTERS)
    return { outcome: "APPLIED", state: longer, losers: [] };
  const compacted = compact(longer);
  if (
    charactersOf(compacted) > Math.ceil(MAX_DOCUMENT_BYTES / 3) * 4 &&
    charactersOf(compacted) > charactersOf(compact(state))
  )
    return { outcome: "REJECTED", state, losers: [], reason: "STATE_TOO_LARGE" };
  return { outcome: "APPLIED", state: compacted, losers: [] };
}

/** One piece of a delta. */
interface Piece {
  readonly insert: unknown;
  readonly attributes?: Readonly<Record<string, unknown>>;
}

/**
 * The delta of a document; null when it is longer than `atMost` characters as JSON. Throws for content that is not
 * valid JSON.
 */
function deltaOf(document: Y.Doc, atMost: number): Json {
  const delta: readonly Piece[] = document.getText(TEXT_NAME).toDelta();
  // Pieces share their attribute values, so each is measured once.
  const known = new Map<unknown, number>();
  const sharedCharactersOf = (value: unknown): number => {
    const size = known.get(value) ?? soundCharactersOf(value);
    known.set(value, size);
    return size;
  };
  let characters = 0;
  for (const { insert, attributes = {} } of delta) {
    characters += '{"insert":,"attributes":{}},'.length + soundCharactersOf(insert);
    for (const [name, value] of Object.entries(attributes))
      characters += '"":,'.length + name.length + sharedCharactersOf(value);
  }
  return characters > atMost ? null : JSON.parse(JSON.stringify(delta));
}

/** The length of `value` as JSON. Throws for anything else that Yjs accepts: not every reader could represent it. */
function soundCharactersOf(value: unknown): number {
  const json = JSON.stringify(value);
  if (typeof value !== "string" && !isJson(JSON.parse(json))) throw new RangeError("this is no JSON of a value");
  return json.length;
}

function charactersOf({ document }: TextState): number {
  return document?.length ?? 0;
}

/**
 * The effect of an update on a document. An update that some reader cannot apply would block all readers for ever, and
 * only applying it to the document itself shows that. The same goes for an update that builds on missing ones: honest
 * authors build on what they have sent or read, and a pending update could break the document later.
 */
function effectOf(document: Y.Doc, update: string): "CHANGE" | "NOTHING" | "BROKEN" {
  let effect: "CHANGE" | "NOTHING" = "NOTHING";
  const onUpdate = (): void => void (effect = "CHANGE");
  document.on("updateV2", onUpdate);
  try {
    Y.applyUpdateV2(document, fromBase64(update));
    deltaOf(document, 0);
  } catch {
    return "BROKEN";
  } finally {
    document.off("updateV2", onUpdate);
  }
  const { pendingStructs, pendingDs } = document.store;
  return pendingStructs === null && pendingDs === null ? effect : "BROKEN";
}
