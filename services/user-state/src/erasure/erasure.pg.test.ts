import { counter, defineNamespace, register } from "@continuo/namespace";
import {
  change,
  createReplica as createCopy,
  forgotten,
  pull,
  push,
  receive,
  settle,
  type Replica as Copy,
} from "@continuo/replica";
import { KINDS } from "@continuo/merge";
import { createLogger } from "@continuo/process";
import { EntryMessage, PushResponse, StateBatch } from "@continuo/merge/protocol";
import { Pool } from "pg";
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { addMedia, createPlayer } from "../activity/activity.fixture.ts";
import { createNamespaceStore } from "../namespace/namespace.store.ts";
import { publish } from "../namespace/publication.ts";
import { createEraseUserState } from "./erase-user-state.jobs.ts";
import { createErase } from "./erasure.ts";
import { createErasureStore } from "./erasure.store.ts";
import { createReplica, shown, startSystem, type GraphAnswer, type Replica, type System } from "../system.fixture.ts";

let system: System;
beforeAll(async () => {
  system = await startSystem();
  await addMedia(system);
  await using stack = new AsyncDisposableStack();
  const pool = stack.adopt(new Pool({ connectionString: system.env.DATABASE_URL }), (opened) => opened.end());
  const game = defineNamespace({ name: "game", version: 1, fields: { points: counter(), name: register(z.json()) } });
  await publish(createNamespaceStore(pool), game, { dryRun: false });
});
afterAll(() => system[Symbol.asyncDispose]());

const ERASE = `mutation ($namespaces: [String!]) { eraseState(namespaces: $namespaces) {
  at epoch rev outcomes replicas namespaces { namespace entries textUpdates activities } } }`;

interface Receipt {
  readonly at: string;
  readonly epoch: string;
  readonly rev: number;
  readonly outcomes: number;
  readonly replicas: number;
  readonly namespaces: { readonly namespace: string; readonly entries: number; readonly activities: number }[];
}
const sendErase = (
  { caller: { viewer } }: Replica,
  namespaces?: string[],
  signIn: { authTime?: number; stepUpSeconds?: number } = {},
): Promise<GraphAnswer<{ eraseState: Receipt }>> =>
  system.ask({ kind: "viewer", viewer: { ...viewer, authTime: secondsAgo(0), ...signIn } }, ERASE, { namespaces });
const secondsAgo = (seconds: number): number => Math.floor(Date.now() / 1_000) - seconds;
async function erase(replica: Replica, namespaces?: string[]): Promise<Receipt> {
  const { data, text } = await sendErase(replica, namespaces);
  if (data == null) throw new Error(text);
  return data.eraseState;
}
const reasonOf = ({ errors }: GraphAnswer<unknown>): string | undefined => errors?.[0]?.extensions.reason;

describe("an erasure", () => {
  it("leaves nothing of a value in any table, and says what there was", async () => {
    const canary = `canary-${randomUUID()}`;
    const player = createPlayer(system);
    const phone = player.replica;
    await phone.push({
      ops: [
        { seq: 1, key: canary, value: canary },
        { seq: 2, key: canary, value: `${canary} two` },
        { seq: 3, namespace: "game", field: canary, value: 1 },
        {
          seq: 4,
          namespace: "media",
          key: canary,
          field: "note",
          payload: { type: "EDIT", generation: 0, name: "x", value: canary },
        },
      ],
    });
    await player.publish({ title: canary });
    expect(await tablesWith(canary)).toEqual(["activities", "state_entries"]);
    const receipt = await erase(phone);
    expect(receipt).toMatchObject({
      namespaces: [
        { namespace: "media", entries: 1, textUpdates: 0, activities: 1 },
        { namespace: "preferences", entries: 1, textUpdates: 0, activities: 0 },
      ],
      outcomes: 1,
      replicas: 1,
    });
    expect(Math.abs(Date.parse(receipt.at) - Date.now())).toBeLessThan(5_000);
    expect(await tablesWith(canary)).toEqual([]);
    expect(await tablesWith(phone.caller.viewer.userId)).toEqual(["user_heads"]);
    const head = await system.admin.query(
      "SELECT usage, entries, bytes FROM user_state.user_heads WHERE user_id = $1",
      [phone.caller.viewer.userId],
    );
    expect(head.rows).toEqual([{ usage: {}, entries: 0, bytes: "0" }]);
  });

  it("of a deleted user leaves nothing, nor what came between identity saying so and saying it again", async () => {
    await using stack = new AsyncDisposableStack();
    const pool = stack.adopt(new Pool({ connectionString: system.env.DATABASE_URL }), (opened) => opened.end());
    const told: string[] = [];
    const announce = { state: () => told.push("state"), activities: () => told.push("activities") };
    const hear = createEraseUserState(createErase({ store: createErasureStore(pool), newEpoch: randomUUID, announce }));
    const phone = createReplica(system);
    const { userId } = phone.caller.viewer;
    for (const value of ["before", "by a token that was still good"]) {
      // A device that has heard of the erasure.
      const { rows } = await system.admin.query("SELECT rev::int FROM user_state.user_heads WHERE user_id = $1", [
        userId,
      ]);
      await phone.sibling().push({ baseRev: rows[0]?.rev ?? 0, ops: [{ seq: 1, value }] });
      expect(await tablesWith(userId)).toContain("state_entries");
      await hear(
        { userId, epoch: 1, because: "DELETED" },
        {
          jobId: randomUUID(),
          attempt: 1,
          signal: new AbortController().signal,
          logger: createLogger({ name: "test", level: "silent" }),
        },
      );
      expect(await tablesWith(userId)).toEqual(["user_heads"]);
      expect(told.splice(0)).toEqual(["state", "activities"]);
    }
  });

  it("is for somebody who has just signed in, and of namespaces that exist", async () => {
    const phone = createReplica(system);
    await phone.push({ ops: [{ seq: 1, value: "stays" }] });
    for (const [age, stepUpSeconds] of [
      [302, undefined],
      [12, 10],
    ] as const) {
      const signIn = { authTime: secondsAgo(age), ...(stepUpSeconds !== undefined && { stepUpSeconds }) };
      const old = await sendErase(phone, undefined, signIn);
      expect([reasonOf(old), old.errors?.[0]?.extensions.details]).toEqual([
        "AUTHENTICATION_TOO_OLD",
        { maxAge: stepUpSeconds ?? 300, acrValues: ["1"] },
      ]);
    }
    expect(reasonOf(await sendErase(phone, ["nowhere"]))).toBe("NAMESPACE_UNKNOWN");
    expect(reasonOf(await system.ask({ kind: "anonymous" }, ERASE))).toBe("SIGN_IN_REQUIRED");
    expect(shown([await phone.pull()])).toEqual({ "theme/colour": "stays" });
    const patient = await sendErase(phone, undefined, { authTime: secondsAgo(1_000), stepUpSeconds: 3_600 });
    expect(patient.data?.eraseState.namespaces).toMatchObject([{ entries: 1 }]);
  });

  it("is nobody else's", async () => {
    const [one, other] = [createReplica(system), createReplica(system)];
    for (const each of [one, other]) await each.push({ ops: [{ seq: 1, value: "x" }] });
    await erase(one);
    expect(shown([await other.pull()])).toEqual({ "theme/colour": "x" });
  });

  it("of one namespace leaves the others, what they hold and count, and exactly once", async () => {
    const phone = createReplica(system);
    const add = (seq: number) => ({ seq, namespace: "game", field: "points", payload: { type: "ADD", delta: 1 } });
    await phone.push({ ops: [add(1), { seq: 2, value: "x" }, { seq: 3, field: "font", payload: { type: "NAMED" } }] });
    const { rows } = await system.admin.query(
      "SELECT usage -> 'game' AS game FROM user_state.user_heads WHERE user_id = $1",
      [phone.caller.viewer.userId],
    );
    const { epoch, rev, replicas } = await erase(phone, ["preferences"]);
    expect(replicas).toBe(0);
    expect(shown([await phone.pull()])).toEqual({ "theme/points": 1 });
    const head = await system.admin.query(
      `SELECT usage, entries, bytes::int, array(
         SELECT message FROM user_state.op_outcomes AS answer WHERE answer.user_id = head.user_id
       ) AS messages
       FROM user_state.user_heads AS head WHERE user_id = $1`,
      [phone.caller.viewer.userId],
    );
    const { game } = rows[0];
    expect(head.rows).toEqual([{ usage: { game }, entries: 1, bytes: game.bytes, messages: [null] }]);
    const { outcomes } = await phone.push({ epoch, baseRev: 2, ops: [add(1), { seq: 4, value: "late" }, add(5)] });
    expect(outcomes.map(({ status, reason }) => [status, reason])).toEqual([
      ["DUPLICATE", null],
      ["REJECTED", "GONE"],
      ["APPLIED", null],
    ]);
    const again = await phone.push({ epoch, baseRev: rev, ops: [{ seq: 6, value: "new" }] });
    expect(again.outcomes[0]?.status).toBe("APPLIED");
    // Nobody can tell what a new device changed before its first pull from what an old one kept.
    const unread = await phone.sibling().push({ epoch, baseRev: 0, ops: [{ seq: 1, value: "first" }] });
    expect(unread.outcomes).toMatchObject([{ status: "REJECTED", reason: "GONE" }]);
    const next = await erase(phone, ["game"]);
    const late = await phone.push({ epoch: next.epoch, baseRev: 2, ops: [{ seq: 7, value: "late" }] });
    expect(late.outcomes).toMatchObject([{ status: "REJECTED", reason: "GONE" }]);
  });

  it("makes live readers and cursors of activities start over", async () => {
    const player = createPlayer(system);
    await player.publish();
    const { to } = await player.replica.pull();
    const { to: ofActivities } = await player.changes();
    await erase(player.replica);
    expect(await player.replica.pull({ since: to })).toMatchObject({ reset: "EPOCH_CHANGED", entries: [] });
    expect(reasonOf(await player.sendChanges(ofActivities))).toBe("CURSOR_INVALID");
    const anew = await player.changes();
    expect(anew.activities).toEqual([]);
    expect((await player.changes(anew.to)).activities).toEqual([]);
  });

  it("wakes who waits for a change at once", async () => {
    const phone = createReplica(system);
    await phone.push({ ops: [{ seq: 1, value: "x" }] });
    const { to } = await phone.pull();
    const other = createReplica(system);
    const untouched = other.pull({ since: (await other.pull()).to, waitMs: 20_000 });
    const waiting = phone.pull({ since: to, waitMs: 20_000 });
    await new Promise((resolve) => setTimeout(resolve, 200));
    await erase(phone);
    expect((await Promise.race([untouched, waiting])).reset).toBe("EPOCH_CHANGED");
    await other.push({ ops: [{ seq: 1, value: "y" }] });
    expect((await untouched).reset).toBeNull();
  });

  it("is before or behind a push that is under way: nothing of it is left", async () => {
    const canary = `canary-${randomUUID()}`;
    const phone = createReplica(system);
    await phone.push({ ops: [{ seq: 1, value: canary }] });
    const epoch = await phone.epoch();
    const blocked = async (): Promise<number> => {
      const { rows } = await system.admin.query(
        "SELECT count(*)::int FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
      );
      return rows[0].count;
    };
    const holder = await system.admin.connect();
    let erasing: Promise<Receipt>;
    let pushing: ReturnType<Replica["send"]>;
    let isAnswered = false;
    try {
      await holder.query("BEGIN");
      await holder.query("SELECT FROM user_state.state_entries WHERE user_id = $1 FOR UPDATE", [
        phone.caller.viewer.userId,
      ]);
      // In the middle of it, the push comes.
      erasing = erase(phone);
      await expect.poll(blocked).toBe(1);
      pushing = phone.sibling().send({ epoch, baseRev: 1, ops: [{ seq: 1, key: "late", value: canary }] });
      void pushing.then(() => (isAnswered = true));
      await expect.poll(async () => isAnswered || (await blocked()) === 2).toBe(true);
    } finally {
      await holder.query("ROLLBACK");
      holder.release();
    }
    await erasing;
    expect(reasonOf(await pushing)).toBe("EPOCH_CHANGED");
    expect(await tablesWith(canary)).toEqual([]);
  });

  it.each([["settled and not yet seen"], ["never sent"]])(
    "keeps away what a device has in its queue, %s; what it does from then on counts",
    async (queued) => {
      const canary = `canary-${randomUUID()}`;
      const laptop = createReplica(system);
      let copy = createCopy({ clientId: laptop.clientId, deviceId: laptop.caller.viewer.deviceId });
      copy = await pulled(laptop, copy);
      copy = written(copy, canary);
      copy = await pushed(laptop, copy);
      copy = await pulled(laptop, copy);
      copy = written(copy, `${canary} again`);
      if (queued === "settled and not yet seen") copy = await pushed(laptop, copy);

      await erase(laptop.sibling());
      copy = await synced(laptop, copy);
      expect([...copy.entries.values()]).toEqual([]);
      expect(copy.queue).toEqual([]);
      expect(copy.rejected.map(({ reason }) => reason)).toEqual(["GONE"]);
      expect(await tablesWith(canary)).toEqual([]);

      copy = await synced(laptop, written(copy, "anew"));
      expect([...copy.entries.values()].map(({ value }) => value)).toEqual(["anew"]);
    },
  );
});

const now = (): number => Date.now();
function written(copy: Copy, value: string): Copy {
  const unit = { namespace: "preferences", key: "theme", field: "colour", kind: "REGISTER" as const, schemaVersion: 1 };
  return change(copy, { ...unit, payload: { type: "SET", value } }, { now: now(), kinds: KINDS });
}
async function pulled(device: Replica, copy: Copy): Promise<Copy> {
  const request = pull(copy);
  const batch = await device.pull({ since: request.since ?? undefined, clientId: request.clientId });
  return receive(
    copy,
    request,
    StateBatch.parse({ ...batch, entries: batch.entries.map((each) => EntryMessage.parse(each)) }),
    now(),
  );
}
async function pushed(device: Replica, copy: Copy): Promise<Copy> {
  const sealed = push(copy, now());
  if (sealed === null) return copy;
  const { request } = sealed;
  const ops = request.ops.map(({ seen, ...op }) => ({ ...op, ...(seen && { seen }) }));
  const { clientId, epoch, clientNow, baseRev } = request;
  const answer = await device.send({ clientId, epoch, clientNow, baseRev, ops });
  if (reasonOf(answer) === "EPOCH_CHANGED") return pulled(device, { ...sealed.replica, cursor: null });
  if (reasonOf(answer) === "CLIENT_UNKNOWN")
    return pulled(device, forgotten(sealed.replica, { clientId: randomUUID(), now: now(), isCounter: () => false }));
  if (answer.data == null) throw new Error(answer.text);
  return settle(sealed.replica, request, PushResponse.parse(answer.data.pushState), now());
}
async function synced(device: Replica, copy: Copy): Promise<Copy> {
  let next = await pulled(device, copy);
  for (let turn = 0; turn < 5 && next.queue.some(({ settledRev }) => settledRev === null); turn += 1)
    next = await pushed(device, next);
  return pulled(device, next);
}

/** Tables of any schema in which a text stands somewhere. */
async function tablesWith(canary: string): Promise<string[]> {
  const { rows } = await system.admin.query<{ schema: string; name: string }>(
    `SELECT table_schema AS schema, table_name AS name FROM information_schema.tables
     WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY table_name`,
  );
  const found: string[] = [];
  for (const { schema, name } of rows) {
    const { rowCount } = await system.admin.query(
      `SELECT FROM "${schema}"."${name}" AS each WHERE position($1 IN each::text) > 0 LIMIT 1`,
      [canary],
    );
    if (rowCount === 1) found.push(name);
  }
  return found;
}
