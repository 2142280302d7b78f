import { randomBytes } from "node:crypto";
import { KIND_NAMES, positionAt, type KindName } from "@continuo/merge";
import { load, TEXT_NAME } from "@continuo/merge/text";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createReplica, shown, startSystem, type OpText, type Replica, type System } from "../system.fixture.ts";

let system: System;
beforeAll(async () => {
  system = await startSystem();
  const kinds = Object.fromEntries(KIND_NAMES.map((kind) => [kind.toLowerCase(), kind]));
  await system.admin.query(
    `INSERT INTO user_state.namespaces (name, version, kinds, schema, persistence, created_at)
     VALUES ('everything', 1, $1, '{}', 'DURABLE', now())`,
    [kinds],
  );
});
afterAll(() => system[Symbol.asyncDispose]());

/** An op on the one unit of a kind. */
function on(kind: KindName, seq: number, payload: object, more: Partial<OpText> = {}): OpText {
  return { seq, namespace: "everything", key: "unit", field: kind.toLowerCase(), payload, ...more };
}

/** What a replica that starts now would show of a kind's unit. */
async function viewOf(replica: Replica, kind: KindName): Promise<unknown> {
  return shown([await replica.sibling().pull()])[`unit/${kind.toLowerCase()}`];
}

async function statuses(replica: Replica, ops: OpText[], baseRev = 0): Promise<string[]> {
  const { outcomes } = await replica.push({ baseRev, ops });
  return outcomes.map(({ status, reason }) => (reason === null ? status : `${status} ${reason}`));
}

const report = (position: number, intent: string) => ({
  type: "REPORT",
  epoch: 0,
  position,
  duration: 6_000,
  unit: "SECONDS",
  intent,
});

/** Somebody's editor of a text which has read `known`: what it changes are updates to push. */
function openEditor(clientID: number, known: readonly string[] = []) {
  const document = documentOf(known);
  document.clientID = clientID;
  const updates: string[] = [];
  document.on("updateV2", (update) => updates.push(Buffer.from(update).toString("base64")));
  return {
    text: document.getText(TEXT_NAME),
    /** What was changed since the last call. */
    taken: () => updates.splice(0),
  };
}

function documentOf(updates: readonly string[]) {
  return load({ generation: 0, document: null, updates });
}

const updating = (update: string | undefined, generation = 0) => ({ type: "UPDATE", generation, update });

const position = positionAt([], 0);
const later = positionAt([{ position }], 1);
const edit = (generation: number, name: string, value: unknown) => ({ type: "EDIT", generation, name, value });
const sealed = (ciphertext: string) => ({
  type: "SET",
  value: { keyVersion: 1, nonce: "AAAA", ciphertext, sealedAt: { ms: 1, counter: 0 } },
});
const [hers, his] = [openEditor(1), openEditor(2)];
hers.text.insert(0, "hers");
his.text.insert(0, "his");

describe("what two devices do to one unit without knowing of each other merges: a", () => {
  it.each<[KindName, object[], object[], unknown]>([
    ["REGISTER", [{ type: "SET", value: "phone" }], [{ type: "SET", value: "laptop" }], "laptop"],
    ["MAX", [{ type: "SET", value: 9 }], [{ type: "SET", value: 7 }], 9],
    ["MIN", [{ type: "SET", value: 9 }], [{ type: "SET", value: 7 }], 7],
    [
      "COUNTER",
      [
        { type: "ADD", delta: 2 },
        { type: "ADD", delta: 3 },
      ],
      [{ type: "ADD", delta: -1 }],
      4,
    ],
    [
      "SET",
      [
        { type: "ADD", element: "both" },
        { type: "ADD", element: "phone" },
      ],
      [
        { type: "ADD", element: "both" },
        { type: "REMOVE", element: "phone" },
        { type: "REMOVE", element: "both" },
      ],
      ["both", "phone"],
    ],
    [
      "MAP",
      [
        { type: "SET", name: "a", value: 1 },
        { type: "SET", name: "b", value: 1 },
      ],
      [
        { type: "SET", name: "b", value: 2 },
        { type: "UNSET", name: "c" },
      ],
      { a: 1, b: 2 },
    ],
    [
      "LIST",
      [{ type: "INSERT", id: "a", value: "A", position: later }],
      [
        { type: "INSERT", id: "b", value: "B", position },
        { type: "MOVE", id: "a", position },
      ],
      [
        { id: "b", value: "B", position },
        { id: "a", value: "A", position: later },
      ],
    ],
    [
      "PROGRESS",
      [report(100, "PAUSE")],
      [report(3_000, "PLAY")],
      {
        epoch: 0,
        answer: expect.objectContaining({ position: 3_000, intent: "PLAY" }),
        alternatives: [expect.objectContaining({ position: 100 })],
        furthest: expect.objectContaining({ position: 3_000 }),
      },
    ],
    [
      "DRAFT",
      [
        edit(0, "subject", "from the phone"),
        edit(0, "body", "a text that is longer than forty characters, from the phone"),
      ],
      [edit(0, "body", "what the laptop had to say about it, which is something else altogether")],
      {
        generation: 0,
        fields: { subject: "from the phone", body: expect.stringContaining("laptop") },
        copies: [expect.objectContaining({ name: "body", value: expect.stringContaining("from the phone") })],
        ended: null,
      },
    ],
    [
      "TEXT",
      hers.taken().map((update) => updating(update)),
      his.taken().map((update) => updating(update)),
      { generation: 0, text: "hershis", delta: [{ insert: "hershis" }] },
    ],
    ["OPAQUE", [sealed("AAAA")], [sealed("BBBB")], sealed("BBBB").value],
  ])("%s", async (kind, first, second, expected) => {
    const phone = createReplica(system);
    const laptop = phone.sibling();
    const now = Date.now();
    // The phone wrote a minute before the laptop did, and its push comes last.
    const ops = (payloads: object[], ms: number) =>
      payloads.map((payload, index) => on(kind, index + 1, payload, { stamp: { ms, counter: index } }));
    await laptop.push({ clientNow: now, ops: ops(second, now - 60_000) });
    await phone.push({ clientNow: now, ops: ops(first, now - 120_000) });
    expect(await viewOf(phone, kind)).toEqual(expected);
    // What is pulled on the way and what is pulled at once are the same, state and all.
    const { entries } = await laptop.pull();
    expect(entries).toEqual((await phone.pull({ namespaces: ["everything"] })).entries);
    expect(entries[0]).toMatchObject({ kind, deleted: false });
  });
});

describe("a change below what stands", () => {
  it("is told to other replicas all the same: they may have to go on from it", async () => {
    const phone = createReplica(system);
    const laptop = phone.sibling();
    const now = Date.now();
    const set = (value: string) => ({ type: "SET", name: "a", value });
    await phone.push({ ops: [on("MAP", 1, set("later"), { stamp: { ms: now, counter: 0 } })] });
    const { to } = await phone.pull();
    const { outcomes } = await laptop.push({
      ops: [on("MAP", 1, set("earlier"), { stamp: { ms: now - 9_000, counter: 0 } })],
    });
    expect(outcomes).toMatchObject([
      { status: "MERGED", rev: 2, current: { a: "later" }, losers: [{ name: "a", value: "earlier" }] },
    ]);
    const { entries } = await phone.pull({ since: to });
    expect(entries).toMatchObject([{ rev: 2, value: { a: "later" } }]);
    // The phone takes away what it has seen, which is now both.
    expect(await statuses(phone, [on("MAP", 2, { type: "DELETE" }, { baseRev: 2 })])).toEqual(["APPLIED"]);
    expect(await viewOf(phone, "MAP")).toBeUndefined();
  });
});

describe("a counter", () => {
  it("counts each delta once when replies are lost and pushes repeated", async () => {
    const phone = createReplica(system);
    const add = (seq: number) => on("COUNTER", seq, { type: "ADD", delta: seq });
    await phone.push({ ops: [add(1), add(2)] });
    await Promise.all([1, 2, 3].map(() => phone.push({ ops: [add(1), add(2), add(3)] })));
    expect(await statuses(phone, [add(2), add(3), add(4)])).toEqual(["DUPLICATE", "DUPLICATE", "APPLIED"]);
    expect(await viewOf(phone, "COUNTER")).toBe(1 + 2 + 3 + 4);
    const beyond = on("COUNTER", 5, { type: "ADD", delta: 0.5 });
    expect(await statuses(phone, [beyond])).toEqual(["REJECTED VALUE_INVALID"]);
  });
});

describe("a poisoned op", () => {
  it("among 100 is refused by itself, with the path of its fault", async () => {
    const phone = createReplica(system);
    const poisons: Record<number, object> = {
      13: { type: "ADD", delta: "many" },
      57: { type: "DELETE" },
      99: { type: "ADD", delta: 2_000_000_000 },
    };
    const ops = Array.from({ length: 100 }, (_, at) => on("COUNTER", at + 1, poisons[at] ?? { type: "ADD", delta: 1 }));
    const { outcomes, lastSeq } = await phone.push({ ops });
    expect(lastSeq).toBe(100);
    expect(outcomes.filter(({ status }) => status === "REJECTED").map(({ seq, reason }) => [seq, reason])).toEqual([
      [14, "VALUE_INVALID"],
      [58, "OP_NOT_ALLOWED"],
      [100, "VALUE_INVALID"],
    ]);
    expect(outcomes[13]).toMatchObject({ message: expect.stringContaining("at delta"), current: 13 });
    expect(await viewOf(phone, "COUNTER")).toBe(97);
    expect((await phone.push({ ops })).outcomes[13]).toMatchObject({
      status: "DUPLICATE",
      first: { status: "REJECTED", reason: "VALUE_INVALID", message: expect.stringContaining("at delta") },
    });
  });

  it("says what stands where it was to go", async () => {
    const phone = createReplica(system);
    await phone.push({ ops: [on("MAX", 1, { type: "SET", value: 7 })] });
    const { outcomes } = await phone.push({ ops: [on("MAX", 2, { type: "SET", value: "far" })] });
    expect(outcomes).toMatchObject([{ status: "REJECTED", current: 7, rev: 1 }]);
  });
});

describe("a draft", () => {
  const submit = (generation: number) => ({ type: "SUBMIT", generation, idempotencyKey: "once" });

  it("that was sent does not come back by a late autosave, and the next one begins", async () => {
    const phone = createReplica(system);
    const laptop = phone.sibling();
    await phone.push({ ops: [on("DRAFT", 1, edit(0, "body", "hello")), on("DRAFT", 2, submit(0))] });
    const { outcomes } = await laptop.push({
      clientNow: Date.now() + 60_000,
      ops: [on("DRAFT", 1, edit(0, "body", "hello, late"), { stamp: { ms: Date.now() + 60_000, counter: 0 } })],
    });
    expect(outcomes).toMatchObject([{ status: "SUPERSEDED", current: null, losers: [{ value: "hello, late" }] }]);
    expect(await viewOf(phone, "DRAFT")).toBeUndefined();
    expect(await statuses(laptop, [on("DRAFT", 2, submit(0)), on("DRAFT", 3, edit(9, "body", "too soon"))])).toEqual([
      "SUPERSEDED",
      "REJECTED GENERATION_UNKNOWN",
    ]);
  });

  it("tells a beginner its generation, though there is nothing to show", async () => {
    const phone = createReplica(system);
    await phone.push({ ops: [on("DRAFT", 1, edit(0, "body", "hello")), on("DRAFT", 2, submit(0))] });
    const tablet = phone.sibling();
    const { entries, headRev } = await tablet.pull();
    expect(entries).toMatchObject([
      { deleted: true, value: null, state: { generation: 1, ended: { how: "SUBMITTED" } } },
    ]);
    expect(await statuses(tablet, [on("DRAFT", 1, edit(1, "body", "the next"))], headRev)).toEqual(["APPLIED"]);
  });

  it("keeps a long text that lost until somebody dismisses it", async () => {
    const phone = createReplica(system);
    const laptop = phone.sibling();
    const long = (who: string) => `${who} ${"wrote something of some length ".repeat(3)}${who}`;
    await laptop.push({ ops: [on("DRAFT", 1, edit(0, "body", long("laptop")))] });
    const stamp = { ms: Date.now() - 60_000, counter: 0 };
    await phone.push({ ops: [on("DRAFT", 1, edit(0, "body", long("phone")), { stamp })] });
    const [entry] = (await phone.pull()).entries;
    const copy = {
      generation: 0,
      name: "body",
      value: long("phone"),
      stamp: expect.objectContaining({ clientId: phone.clientId }),
    };
    expect(entry?.value).toMatchObject({ fields: { body: long("laptop") }, copies: [copy] });
    const { outcomes } = await laptop.push({
      ops: [
        on("DRAFT", 2, {
          type: "DISMISS_COPY",
          copy: { ...stamp, ms: stampOf(entry?.value), clientId: phone.clientId },
        }),
      ],
    });
    expect(outcomes).toMatchObject([{ status: "APPLIED" }]);
    expect(await viewOf(phone, "DRAFT")).toMatchObject({ copies: [] });
  });

  function stampOf(value: unknown): number {
    const found = /"copies":\[\{.*?"ms":(\d+)/.exec(JSON.stringify(value));
    return Number(found?.[1]);
  }
});

describe("a progress", () => {
  it("is not moved by a paused television, but by whoever acts, also backwards", async () => {
    const tv = createReplica(system);
    const phone = tv.sibling();
    await tv.push({ ops: [on("PROGRESS", 1, report(5_000, "PAUSE"))] });
    await phone.push({ ops: [on("PROGRESS", 1, report(1_200, "SEEK"))] });
    for (let seq = 2; seq <= 4; seq += 1) await tv.push({ ops: [on("PROGRESS", seq, report(5_000, "PASSIVE"))] });
    expect(await viewOf(tv, "PROGRESS")).toMatchObject({
      answer: { position: 1_200, deviceId: phone.caller.viewer.deviceId },
      alternatives: [{ position: 5_000, deviceId: tv.caller.viewer.deviceId }],
      furthest: { position: 5_000 },
    });
  });

  it("that was begun again takes no report of the time before", async () => {
    const tv = createReplica(system);
    await tv.push({
      ops: [on("PROGRESS", 1, report(5_000, "FINISH")), on("PROGRESS", 2, { type: "RESTART", epoch: 1 })],
    });
    expect(await statuses(tv.sibling(), [on("PROGRESS", 1, report(5_900, "PLAY"))])).toEqual(["SUPERSEDED"]);
    expect((await tv.sibling().pull()).entries).toMatchObject([{ deleted: true, state: { epoch: 1 } }]);
  });
});

describe("deleting a map", () => {
  it("takes what its author had seen, and leaves what others wrote since", async () => {
    const phone = createReplica(system);
    const laptop = phone.sibling();
    const set = (name: string) => ({ type: "SET", name, value: 1 });
    await phone.push({ ops: [on("MAP", 1, set("seen")), on("MAP", 2, set("seen too"))] });
    await phone.push({ ops: [on("MAP", 3, set("unseen"))] });
    // Made offline at revision 2 and sent when the replica had pulled revision 3: what counts is when it was made.
    expect(await statuses(laptop, [on("MAP", 1, { type: "DELETE" }, { baseRev: 2 })], 3)).toEqual(["MERGED"]);
    expect(await viewOf(phone, "MAP")).toEqual({ unseen: 1 });
  });
});

describe("a text", () => {
  it("of two devices converges, by updates that no push writes anew", async () => {
    const phone = createReplica(system);
    const laptop = phone.sibling();
    const { userId } = phone.caller.viewer;
    const one = openEditor(1);
    one.text.insert(0, "Dear ");
    one.text.insert(5, "all");
    const begun = one.taken();
    await phone.push({ ops: begun.map((update, at) => on("TEXT", at + 1, updating(update))) });

    const other = openEditor(2, begun);
    one.text.insert(8, ", from the phone");
    other.text.insert(5, "you ");
    const [fromPhone, fromLaptop] = [one.taken(), other.taken()];
    await phone.push({ ops: fromPhone.map((update, at) => on("TEXT", at + 3, updating(update))) });
    await laptop.push({ ops: fromLaptop.map((update, at) => on("TEXT", at + 1, updating(update))) });
    const text = "Dear you all, from the phone";
    for (const read of [
      [...begun, ...fromPhone, ...fromLaptop],
      [...begun, ...fromLaptop, ...fromPhone],
    ])
      expect(documentOf(read).getText(TEXT_NAME).toJSON()).toBe(text);
    expect(await viewOf(phone, "TEXT")).toMatchObject({ text });

    const stored = await system.admin.query("SELECT state FROM user_state.state_entries WHERE user_id = $1", [userId]);
    expect(stored.rows[0].state.updates).toEqual(begun);
    expect(await updatesBeside(userId)).toEqual([3, 4]);
    const [entry] = (await laptop.pull()).entries;
    expect(entry?.state).toMatchObject({ updates: [...begun, ...fromPhone, ...fromLaptop] });
    expect(await statuses(laptop, [on("TEXT", 2, updating(fromPhone[0]))])).toEqual(["NOOP"]);
  });

  it("gets each update once from devices that write at once", async () => {
    const phone = createReplica(system);
    const { userId } = phone.caller.viewer;
    const first = openEditor(1);
    first.text.insert(0, "-");
    const begun = first.taken();
    await phone.push({ ops: begun.map((update, at) => on("TEXT", at + 1, updating(update))) });
    const devices = [2, 3, 4].map((id) => ({ replica: phone.sibling(), editor: openEditor(id, begun) }));
    await Promise.all(
      devices.map(async ({ replica, editor }) => {
        for (let seq = 1; seq <= 8; seq += 1) {
          editor.text.insert(1, "a");
          for (const update of editor.taken()) await replica.push({ ops: [on("TEXT", seq, updating(update))] });
        }
      }),
    );
    expect(await viewOf(phone, "TEXT")).toMatchObject({ text: `-${"a".repeat(24)}` });
    expect(await updatesBeside(userId)).toEqual(Array.from({ length: 24 }, (_, index) => index + begun.length + 1));
  });

  it("is compacted when its updates are many, also in the middle of a push, and goes on", async () => {
    const phone = createReplica(system);
    const { userId } = phone.caller.viewer;
    const editor = openEditor(1);
    const type = (words: number) => {
      for (let word = 0; word < words; word += 1) editor.text.insert(0, "w ");
      return editor.taken();
    };
    let seq = 0;
    for (const words of [1, 99, 90, 20, 5])
      await phone.push({ ops: type(words).map((update) => on("TEXT", (seq += 1), updating(update))) });
    const { rows } = await system.admin.query("SELECT state FROM user_state.state_entries WHERE user_id = $1", [
      userId,
    ]);
    expect(rows[0].state.document).toEqual(expect.any(String));
    // Compacted by the 200th, with 10 updates more in the same push; those of the last push are beside it.
    expect(rows[0].state.updates).toHaveLength(10);
    expect(await updatesBeside(userId)).toEqual([211, 212, 213, 214, 215]);
    expect(await viewOf(phone, "TEXT")).toMatchObject({ text: "w ".repeat(215) });
  });

  it("that was reset begins empty, and its updates are gone", async () => {
    const phone = createReplica(system);
    const { userId } = phone.caller.viewer;
    const editor = openEditor(1);
    editor.text.insert(0, "one");
    editor.text.insert(0, "two");
    const [first, second] = editor.taken();
    await phone.push({ ops: [on("TEXT", 1, updating(first))] });
    await phone.push({ ops: [on("TEXT", 2, updating(second)), on("TEXT", 3, { type: "RESET", generation: 0 })] });
    expect(await updatesBeside(userId)).toEqual([]);
    expect(await statuses(phone, [on("TEXT", 4, updating(second))])).toEqual(["SUPERSEDED"]);
    const next = openEditor(2);
    next.text.insert(0, "anew");
    expect(await statuses(phone, [on("TEXT", 5, updating(next.taken()[0], 1))])).toEqual(["APPLIED"]);
    expect(await viewOf(phone, "TEXT")).toMatchObject({ generation: 1, text: "anew" });
    expect(await statuses(phone, [on("TEXT", 6, updating("AAAA", 1))])).toEqual(["REJECTED UPDATE_INVALID"]);
  });

  it("that is very long takes a few changes at a time, and the rest with the next pushes", async () => {
    const phone = createReplica(system);
    const editor = openEditor(1);
    for (let part = 0; part < 20; part += 1) editor.text.insert(0, randomBytes(24_000).toString("base64"));
    let seq = 0;
    for (const update of editor.taken()) await phone.push({ ops: [on("TEXT", (seq += 1), updating(update))] });

    const bad = Array.from({ length: 10 }, () => on("TEXT", (seq += 1), updating("AAAA")));
    const first = await phone.push({ ops: bad });
    expect(first).toMatchObject({
      stop: "RETRY",
      retryAfterMs: expect.any(Number),
      lastSeq: 20 + first.outcomes.length,
    });
    expect(first.outcomes.length).toBeGreaterThan(1);
    expect(first.outcomes.length).toBeLessThan(8);
    let answer = first;
    while (answer.stop !== null) answer = await phone.push({ ops: bad.filter((op) => op.seq > answer.lastSeq) });
    expect(answer.lastSeq).toBe(seq);
  });

  /** The revisions of the updates that are stored beside a user's text. */
  async function updatesBeside(userId: string): Promise<number[]> {
    const { rows } = await system.admin.query<{ rev: number }>(
      "SELECT rev::int FROM user_state.text_updates WHERE user_id = $1 ORDER BY rev",
      [userId],
    );
    return rows.map(({ rev }) => rev);
  }
});

it("what stands is told beside the outcomes of a push until that is much, and the rest with the next ones", async () => {
  const phone = createReplica(system);
  const large = { value: randomBytes(45_000).toString("base64"), position: positionAt([], 0) };
  const inserts = ["a", "b", "c", "d"].map((id, at) => on("LIST", at + 1, { type: "INSERT", id, ...large }));
  await phone.push({ ops: inserts });
  const removals = Array.from({ length: 96 }, (_, at) => on("LIST", at + 5, { type: "REMOVE", id: "none" }));
  const { outcomes, stop, lastSeq } = await phone.push({ ops: removals });
  expect({ stop, lastSeq }).toEqual({ stop: "RETRY", lastSeq: 4 + outcomes.length });
  expect(outcomes.every(({ status, current }) => status === "NOOP" && current !== null)).toBe(true);
  expect(JSON.stringify(outcomes).length).toBeLessThan(5 * 1024 * 1024);
  expect((await phone.push({ ops: removals.slice(outcomes.length) })).lastSeq).toBeGreaterThan(lastSeq);
});

it("a kind that the namespace has changed does not meet what was written as another", async () => {
  const phone = createReplica(system);
  await phone.push({ ops: [on("MAX", 1, { type: "SET", value: 1 })] });
  await system.admin.query("UPDATE user_state.state_entries SET kind = 'MIN' WHERE user_id = $1", [
    phone.caller.viewer.userId,
  ]);
  expect(await statuses(phone, [on("MAX", 2, { type: "SET", value: 2 })])).toEqual(["REJECTED KIND_CHANGED"]);
});
