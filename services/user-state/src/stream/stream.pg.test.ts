import { randomUUID } from "node:crypto";
import { Pool } from "pg";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { createReplica, shown, startSystem, type Replica, type StateBatch, type System } from "../system.fixture.ts";
import { createCursors, namespaceSet } from "./cursor.ts";
import { createStreamStore } from "./stream.store.ts";

let system: System;
beforeAll(async () => {
  system = await startSystem();
});
afterAll(() => system[Symbol.asyncDispose]());

/** Pulls until there is no more, holding each batch to the one before it. */
async function pullAll(replica: Replica, first: number, since?: string): Promise<StateBatch[]> {
  const batches: StateBatch[] = [];
  let cursor = since;
  for (;;) {
    const batch: StateBatch = await replica.pull({ first, ...(cursor !== undefined && { since: cursor }) });
    expect(batch.from).toBe(cursor ?? null);
    expect(batch.entries.length).toBeLessThanOrEqual(first);
    batches.push(batch);
    cursor = batch.to;
    if (!batch.hasMore) return batches;
  }
}

async function reasonOf(
  answer: Promise<{ errors?: { extensions: { code: string; reason: string } }[] }>,
): Promise<string> {
  const error = (await answer).errors?.[0]?.extensions;
  return `${error?.code} ${error?.reason}`;
}

describe("a pull", () => {
  it("from the start says so, and from its own end finds nothing and stays where it is", async () => {
    const phone = createReplica(system);
    const empty = await phone.pull();
    expect(empty).toMatchObject({ from: null, reset: "INITIAL", entries: [], hasMore: false, headRev: 0 });
    await phone.push({ ops: [{ seq: 1, value: 1 }] });
    const next = await phone.pull({ since: empty.to });
    expect(next).toMatchObject({ from: empty.to, reset: null, headRev: 1 });
    expect(next.entries).toMatchObject([
      { namespace: "preferences", key: "theme", kind: "REGISTER", value: 1, rev: 1 },
    ]);
    const last = await phone.pull({ since: next.to });
    expect(last).toMatchObject({ from: next.to, to: next.to, entries: [], reset: null });
  });

  it("says up to which change of its own a replica finds itself in it", async () => {
    const phone = createReplica(system);
    const laptop = phone.sibling();
    await phone.push({
      ops: [
        { seq: 1, value: 1 },
        { seq: 2, namespace: "nowhere", value: 1 },
      ],
    });
    expect((await phone.pull({ clientId: phone.clientId })).lastSeq).toBe(2);
    expect((await laptop.pull({ clientId: laptop.clientId })).lastSeq).toBe(0);
    expect((await phone.pull()).lastSeq).toBeNull();
  });

  it("page by page ends with the same state as in one, also while others write", async () => {
    const phone = createReplica(system);
    await phone.push({
      ops: Array.from({ length: 12 }, (_, index) => ({ seq: index + 1, key: `k${index % 7}`, value: index })),
    });
    await phone.push({ ops: [{ seq: 13, key: "k1", payload: { type: "DELETE" } }] });
    const one = await phone.pull({ first: 1 });
    await phone.push({
      ops: [
        { seq: 14, key: "k5", payload: { type: "DELETE" } },
        { seq: 15, key: "k8", value: "new" },
      ],
    });
    const rest = await pullAll(phone, 1, one.to);
    expect(rest.every(({ reset }) => reset === null)).toBe(true);
    const revs = [one, ...rest].flatMap(({ entries }) => entries.map(({ rev }) => rev));
    expect(revs).toEqual(revs.toSorted((a, b) => a - b));
    expect(shown([one, ...rest])).toEqual(shown(await pullAll(phone, 500)));
  });

  it("ends a page early when the values are large", async () => {
    const phone = createReplica(system);
    const value = "x".repeat(60_000);
    for (let seq = 1; seq <= 12; seq += 4) {
      await phone.push({ ops: [0, 1, 2, 3].map((more) => ({ seq: seq + more, key: `k${seq + more}`, value })) });
    }
    const batches = await pullAll(phone, 500);
    expect(batches.map(({ entries }) => entries.length)).toEqual([9, 3]);
  });

  it("tells a deletion once to those who may hold the value, and not to a beginner", async () => {
    const phone = createReplica(system);
    await phone.push({
      ops: [
        { seq: 1, key: "gone", value: 1 },
        { seq: 2, key: "kept", value: 2 },
      ],
    });
    const held = await phone.pull();
    await phone.push({ ops: [{ seq: 3, key: "gone", payload: { type: "DELETE" } }] });
    const told = await phone.pull({ since: held.to });
    expect(told.entries).toMatchObject([{ key: "gone", deleted: true, value: null }]);
    expect((await phone.pull({ since: told.to })).entries).toEqual([]);
    expect((await phone.pull()).entries).toMatchObject([{ key: "kept" }]);
  });

  it("limited to namespaces reads those alone, and starts over when the set changes", async () => {
    const phone = createReplica(system);
    await phone.push({
      ops: [
        { seq: 1, value: 1 },
        { seq: 2, namespace: "notes", key: "n", field: "text", value: "note" },
      ],
    });
    const notes = await phone.pull({ namespaces: ["notes"] });
    expect(shown([notes])).toEqual({ "n/text": "note" });
    await phone.push({ ops: [{ seq: 3, value: 2 }] });
    expect((await phone.pull({ namespaces: ["notes"], since: notes.to })).entries).toEqual([]);
    const widened = await phone.pull({ namespaces: ["notes", "preferences"], since: notes.to });
    expect(widened).toMatchObject({ reset: "NAMESPACES_CHANGED", from: notes.to });
    expect(shown([widened])).toEqual({ "n/text": "note", "theme/colour": 2 });
    expect(await reasonOf(phone.sendPull({ namespaces: ["nowhere"] }))).toBe("BAD_USER_INPUT NAMESPACE_UNKNOWN");
  });

  it("of another epoch, or beyond what there is, starts over", async () => {
    const phone = createReplica(system);
    await phone.push({ ops: [{ seq: 1, value: 1 }] });
    const { userId } = phone.caller.viewer;
    const { to, epoch } = await phone.pull();
    const cursors = createCursors(system.env.CURSOR_KEY);
    const all = namespaceSet(undefined);
    const lost = cursors.encode(userId, { epoch, rev: 99, floor: 0, namespaces: all });
    expect(await phone.pull({ since: lost, clientId: phone.clientId })).toMatchObject({
      reset: "EPOCH_CHANGED",
      headRev: 1,
    });
    const { rows } = await system.admin.query("SELECT acked_rev::int FROM user_state.sync_clients WHERE user_id = $1", [
      userId,
    ]);
    expect(rows).toEqual([{ acked_rev: 0 }]);
    await system.admin.query("UPDATE user_state.user_heads SET epoch = $2 WHERE user_id = $1", [userId, randomUUID()]);
    expect(await phone.pull({ since: to })).toMatchObject({
      reset: "EPOCH_CHANGED",
      from: to,
      entries: [{ value: 1 }],
    });
  });

  it("with a cursor that is forged, cut or another person's is refused", async () => {
    const ada = createReplica(system);
    const alan = createReplica(system);
    const { to } = await ada.pull();
    const forged = `${to.slice(0, 20)}${to[20] === "A" ? "B" : "A"}${to.slice(21)}`;
    const foreignKey = createCursors(Buffer.alloc(32)).encode(ada.caller.viewer.userId, {
      epoch: randomUUID(),
      rev: 0,
      floor: 0,
      namespaces: namespaceSet(undefined),
    });
    for (const since of [forged, to.slice(0, -4), `${to}AAAA`, "", "no cursor", foreignKey])
      expect([since, await reasonOf(ada.sendPull({ since }))]).toEqual([since, "BAD_USER_INPUT CURSOR_INVALID"]);
    expect(await reasonOf(alan.sendPull({ since: to }))).toBe("BAD_USER_INPUT CURSOR_INVALID");
  });

  it("shows a person nothing of another's", async () => {
    const ada = createReplica(system);
    await ada.push({ ops: [{ seq: 1, value: "hers" }] });
    expect((await createReplica(system).pull()).entries).toEqual([]);
  });

  it("makes one head when a person's first requests come together", async () => {
    const phone = createReplica(system);
    const epochs = await Promise.all(Array.from({ length: 8 }, async () => (await phone.pull()).epoch));
    expect(new Set(epochs).size).toBe(1);
  });

  it("that comes with others' is answered by the same statement, each with what is its own", async () => {
    const pool = new Pool({ connectionString: system.database.url.userState, max: 2 });
    try {
      const store = createStreamStore(pool);
      const people = await Promise.all(
        ["grace", "alan"].map(async (name) => {
          const replica = createReplica(system);
          const ops = ["preferences", "notes"].map((namespace, index) => ({ seq: index + 1, namespace, value: name }));
          await replica.push({ ops: ops.map((op) => ({ ...op, field: "f" })) });
          return { replica, userId: replica.caller.viewer.userId };
        }),
      );
      const [grace, alan] = people;
      if (grace === undefined || alan === undefined) throw new Error("there are two");
      const epoch = randomUUID();
      const rest = { floor: 0, namespaces: undefined, first: 500, clientId: undefined, newEpoch: () => epoch };
      const nobody = randomUUID();
      const asked = [
        { ...rest, userId: grace.userId, after: 0 },
        { ...rest, userId: alan.userId, after: 1, clientId: alan.replica.clientId },
        { ...rest, userId: grace.userId, after: 0, namespaces: ["notes"] },
        { ...rest, userId: alan.userId, after: 0, first: 1 },
        { ...rest, userId: nobody, after: 0 },
      ];
      const sent = vi.spyOn(pool, "query");
      const pages = await Promise.all(asked.map((each) => store.read(each)));
      expect(pages.map(({ entries }) => entries.map(({ namespace, rev }) => [namespace, rev]))).toEqual([
        [
          ["preferences", 1],
          ["notes", 2],
        ],
        [["notes", 2]],
        [["notes", 2]],
        [["preferences", 1]],
        [],
      ]);
      expect(pages.map(({ hasMore }) => hasMore)).toEqual([false, false, false, true, false]);
      expect(pages.map(({ replica }) => replica?.lastSeq)).toEqual([undefined, 2, undefined, undefined, undefined]);
      expect(JSON.stringify(pages[0])).not.toContain("alan");
      expect(JSON.stringify([pages[1], pages[3]])).not.toContain("grace");
      expect(pages[4]?.head).toMatchObject({ epoch, rev: 0 });
      // One for all, and for who had no head: that, and another read.
      expect(sent).toHaveBeenCalledTimes(3);
    } finally {
      await pool.end();
    }
  });
});
