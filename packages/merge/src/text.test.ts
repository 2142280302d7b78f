import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as Y from "yjs";
import { fromBase64, toBase64 } from "./base64.ts";
import type { Applied, Context } from "./kind.ts";
import { compact, load, MAX_DOCUMENT_BYTES, MAX_UPDATES, text, TEXT_NAME } from "./text.ts";
import type { TextState } from "./state.ts";

const CONTEXT: Context = {
  stamp: { ms: 1, counter: 0, clientId: "" },
  seen: null,
  deviceId: "",
  baseRev: 0,
  rev: 1,
};

/** Somebody's editor: each change of its document is an update. */
function createEditor(clientId: number) {
  const document = new Y.Doc();
  document.clientID = clientId;
  const updates: string[] = [];
  document.on("updateV2", (update: Uint8Array, origin: unknown) => {
    if (origin !== "remote") updates.push(toBase64(update));
  });
  return {
    text: document.getText(TEXT_NAME),
    updates,
    read: (update: string) => Y.applyUpdateV2(document, fromBase64(update), "remote"),
  };
}

function write(state: TextState, ...updates: string[]): TextState {
  return updates.reduce((sum, update) => push(sum, update).state, state);
}

function push(state: TextState, update: string, generation = state.generation): Applied<TextState> {
  return text.apply(state, { type: "UPDATE", generation, update }, CONTEXT);
}

describe("a text", () => {
  it("is the same wherever it is read, with what both wrote in it", () => {
    const [phone, laptop] = [createEditor(1), createEditor(2)];
    phone.text.insert(0, "Hello", { bold: true });
    for (const update of phone.updates) laptop.read(update);
    laptop.text.insert(5, " from the laptop");
    phone.text.insert(5, " from the phone");
    const one = write(text.initial, ...phone.updates, ...laptop.updates);
    const other = write(text.initial, phone.updates[0] ?? "", ...laptop.updates, phone.updates[1] ?? "");
    expect(text.view(one)).toEqual(text.view(other));
    expect(text.view(one)?.text).toContain("from the laptop");
    expect(text.view(one)?.text).toContain("from the phone");
    expect(text.view(one)?.delta).toContainEqual({
      insert: expect.stringContaining("Hello"),
      attributes: { bold: true },
    });
  });

  it("ignores an update that it has, also after it was compacted", () => {
    const editor = createEditor(1);
    editor.text.insert(0, "one");
    const [update = ""] = editor.updates;
    const state = write(text.initial, update);
    expect(push(state, update)).toEqual({ outcome: "NOOP", state, losers: [] });
    expect(push(compact(state), update).outcome).toBe("NOOP");
  });

  it("refuses an update that builds on one it has not got", () => {
    const editor = createEditor(1);
    editor.text.insert(0, "one ");
    editor.text.insert(4, "two");
    editor.text.delete(0, 1);
    const [first = "", second = "", third = ""] = editor.updates;
    for (const early of [second, third])
      expect(push(text.initial, early)).toMatchObject({ outcome: "REJECTED", reason: "UPDATE_INVALID" });
    expect(text.view(write(text.initial, first, second, third))?.text).toBe("ne two");
  });

  it("is a value: what was tried on a state leaves it as it was", () => {
    const [one, other] = [createEditor(1), createEditor(2)];
    one.text.insert(0, "one");
    other.text.insert(0, "other");
    const [first = "", second = ""] = [...one.updates, ...other.updates];
    const state = write(text.initial, first);
    const branches = [second, "AAAA", first, second].map((update) => push(state, update));
    expect(branches.map(({ outcome }) => outcome)).toEqual(["APPLIED", "REJECTED", "NOOP", "APPLIED"]);
    expect(text.view(state)?.text).toBe("one");
    expect(branches.map((branch) => text.view(branch.state)?.text)).toEqual(["oneother", "one", "one", "oneother"]);
    expect(push(branches[2]?.state ?? state, second).outcome).toBe("APPLIED");
    expect(push(branches[3]?.state ?? state, second).outcome).toBe("NOOP");
  });

  it("is compacted into what the document is, not what it was", () => {
    const editor = createEditor(1);
    for (let step = 0; step < MAX_UPDATES; step += 1) {
      editor.text.insert(0, `word ${step} `);
      editor.text.delete(0, `word ${step} `.length);
    }
    editor.text.insert(0, "all that is left");
    const state = write(text.initial, ...editor.updates);
    expect(state.updates.length).toBeLessThan(MAX_UPDATES);
    const compacted = compact(state);
    expect(text.view(compacted)).toEqual(text.view(state));
    const merged = Y.mergeUpdatesV2(editor.updates.map(fromBase64));
    expect(fromBase64(compacted.document ?? "").length).toBeLessThan(merged.length / 4);
  });

  it("goes on from a compacted state with the editor that made it", () => {
    const editor = createEditor(1);
    editor.text.insert(0, "one");
    const compacted = compact(write(text.initial, ...editor.updates));
    editor.text.insert(3, " two");
    expect(text.view(write(compacted, editor.updates[1] ?? ""))?.text).toBe("one two");
  });

  it("that was reset begins empty, and late updates of it are refused", () => {
    const editor = createEditor(1);
    editor.text.insert(0, "sent");
    const [update = ""] = editor.updates;
    const { state } = text.apply(write(text.initial, update), { type: "RESET", generation: 0 }, CONTEXT);
    expect(text.view(state)).toBeUndefined();
    expect(push(state, update, 0)).toMatchObject({ outcome: "SUPERSEDED", state, losers: [{ value: update }] });
    expect(text.apply(state, { type: "RESET", generation: 0 }, CONTEXT).outcome).toBe("SUPERSEDED");
    expect(push(state, update, 2)).toMatchObject({ outcome: "REJECTED", reason: "GENERATION_UNKNOWN" });
    expect(text.view(write(state, update))).toMatchObject({ generation: 1, text: "sent" });
  });

  it("that is full refuses to grow, and takes what makes it smaller", () => {
    const document = new Y.Doc();
    document.getText(TEXT_NAME).insert(0, "x".repeat(MAX_DOCUMENT_BYTES - 1_000));
    const full = toBase64(Y.encodeStateAsUpdateV2(document));
    const editor = createEditor(1);
    editor.read(full);
    let state: TextState = { generation: 0, document: full, updates: [] };
    let refused;
    for (let step = 0; refused === undefined; step += 1) {
      editor.text.insert(0, "y".repeat(49_000));
      const pushed = push(state, editor.updates[step] ?? "");
      if (pushed.outcome === "REJECTED") refused = pushed;
      else ({ state } = pushed);
    }
    expect(refused).toMatchObject({ reason: "STATE_TOO_LARGE" });
    expect(push(state, editor.updates.at(-1) ?? "")).toMatchObject({ reason: "STATE_TOO_LARGE" });
    expect(JSON.stringify(state).length).toBeLessThan(text.maxStateBytes);
    const shrinking = load(state);
    let smaller = state;
    // So many that it is compacted, and is still too large then.
    for (let step = 0; step < MAX_UPDATES; step += 1) {
      const before = Y.encodeStateVector(shrinking);
      shrinking.getText(TEXT_NAME).delete(0, 100);
      const pushed = push(smaller, toBase64(Y.encodeStateAsUpdateV2(shrinking, before)));
      expect(pushed.outcome).toBe("APPLIED");
      smaller = pushed.state;
    }
    expect(fromBase64(smaller.document ?? "").length).toBeGreaterThan(MAX_DOCUMENT_BYTES);
    expect(JSON.stringify(compact(smaller)).length).toBeLessThan(JSON.stringify(state).length);
  });

  it("refuses what is no update, and what it takes every reader can read", () => {
    const editor = createEditor(1);
    editor.text.insert(0, "some text");
    editor.text.format(2, 3, { bold: true });
    editor.text.delete(1, 4);
    const sound = write(text.initial, ...editor.updates);
    const broken = fc
      .record({ update: fc.constantFrom(...editor.updates), at: fc.nat(60), byte: fc.nat(255), length: fc.nat(60) })
      .map(({ update, at, byte, length }) => {
        const bytes = fromBase64(update);
        bytes[at % bytes.length] = byte;
        return toBase64(bytes.subarray(0, 1 + Math.max(length, at)));
      });
    const refused = fc.sample(broken, 200).filter((update) => push(sound, update).outcome === "REJECTED");
    expect(refused.length).toBeGreaterThan(50);
    fc.assert(
      fc.property(fc.array(broken, { maxLength: 3 }), (updates) => {
        const state = write(sound, ...updates);
        expect(text.view(compact(state))?.delta).toEqual(text.view(state)?.delta);
      }),
    );
  });

  it("refuses what no JSON says, by which every reader would stumble", () => {
    const deep = (levels: number): unknown => (levels === 0 ? 1 : [deep(levels - 1)]);
    const sound = createEditor(1);
    sound.text.insert(0, "text");
    const state = write(text.initial, ...sound.updates);
    for (const value of [1n, { a: [1n] }, deep(100)]) {
      const editor = createEditor(2);
      for (const update of sound.updates) editor.read(update);
      editor.text.format(0, 2, { value });
      expect(push(state, editor.updates[0] ?? "")).toMatchObject({ outcome: "REJECTED", reason: "UPDATE_INVALID" });
    }
    const editor = createEditor(2);
    for (const update of sound.updates) editor.read(update);
    editor.text.format(0, 2, { value: deep(10) });
    expect(push(state, editor.updates[0] ?? "").outcome).toBe("APPLIED");
  });

  it("is told without its formats where those make it far longer than it is", () => {
    const editor = createEditor(1);
    editor.text.insert(0, "x".repeat(4_000));
    editor.text.format(0, 4_000, { link: "y".repeat(40_000) });
    for (let at = 0; at < 200; at += 2) editor.text.format(at, 1, { bold: true });
    const state = write(text.initial, ...editor.updates);
    expect(text.view(state)).toEqual({ generation: 0, text: "x".repeat(4_000), delta: null });
  });
});
