import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createReplica, startSystem, type Replica, type System } from "../system.fixture.ts";

let system: System;
beforeAll(async () => {
  system = await startSystem();
});
afterAll(() => system[Symbol.asyncDispose]());

const ENTITIES = `query ($devices: [_Any!]!) {
  _entities(representations: $devices) { ... on Device { id syncStatus { ackedRev headRev pending lastSeenAt } } } }`;

interface Status {
  id: string;
  syncStatus: { ackedRev: number; headRev: number; pending: number | null; lastSeenAt: string } | null;
}

async function statuses(viewer: Replica, ids: string[]): Promise<(Status | null)[]> {
  const devices = ids.map((id) => ({ __typename: "Device", id }));
  const { data, text } = await system.ask<{ _entities: (Status | null)[] }>(viewer.caller, ENTITIES, { devices });
  if (data == null) throw new Error(text);
  return data._entities;
}

describe("a device's sync status", () => {
  it("follows what its replica acknowledges with a cursor or a push", async () => {
    const phone = createReplica(system);
    const laptop = phone.sibling();
    await phone.push({
      ops: [
        { seq: 1, value: 1 },
        { seq: 2, value: 2 },
      ],
    });
    const { to } = await laptop.pull({ clientId: laptop.clientId });
    const ids = [phone, laptop].map(({ caller }) => caller.viewer.deviceId);
    expect(await statuses(phone, ids)).toMatchObject([
      { syncStatus: { ackedRev: 0, headRev: 2 } },
      { syncStatus: null },
    ]);

    await laptop.pull({ since: to, clientId: laptop.clientId });
    await phone.push({ baseRev: 1, ops: [{ seq: 3, value: 3 }] });
    const after = await statuses(laptop, ids);
    expect(after).toMatchObject([
      { id: ids[0], syncStatus: { ackedRev: 1, headRev: 3 } },
      { id: ids[1], syncStatus: { ackedRev: 2, headRev: 3 } },
    ]);
    expect(after[0]?.syncStatus?.lastSeenAt).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);

    const { to: newest } = await createReplica(system, phone.caller.viewer).pull();
    await laptop.pull({ since: newest, clientId: laptop.clientId });
    expect((await statuses(laptop, ids))[1]?.syncStatus?.ackedRev).toBe(3);
    // An older cursor, sent again after a while, takes nothing back, nor does an older push that comes late.
    await system.admin.query("UPDATE user_state.sync_clients SET seen_at = seen_at - interval '1 hour'");
    await laptop.pull({ since: to, clientId: laptop.clientId });
    const seen = (await statuses(laptop, ids))[1]?.syncStatus?.lastSeenAt ?? "";
    expect(Date.parse(seen)).toBeGreaterThan(Date.now() - 600_000);
    await laptop.push({ baseRev: 1, ops: [{ seq: 1, value: 4 }] });
    expect((await statuses(laptop, ids))[1]?.syncStatus?.ackedRev).toBe(3);
  });

  it("is not further than there is anything, whatever its push claims to have seen", async () => {
    const phone = createReplica(system);
    await phone.push({ baseRev: 1_000, ops: [{ seq: 1, value: 1 }] });
    const [status] = await statuses(phone, [phone.caller.viewer.deviceId]);
    expect(status?.syncStatus).toMatchObject({ ackedRev: 1, headRev: 1 });
  });

  it("tells how many changes wait on the device, as it said when it pushed last", async () => {
    const phone = createReplica(system);
    const { deviceId } = phone.caller.viewer;
    const pending = async () => (await statuses(phone, [deviceId]))[0]?.syncStatus?.pending;
    await phone.push({ ops: [{ seq: 1, value: 1 }] });
    expect(await pending()).toBeNull();
    await phone.push({ pending: 7, ops: [{ seq: 2, value: 2 }] });
    expect(await pending()).toBe(7);
    // One of these comes too early, and waits as well.
    await phone.push({
      pending: 0,
      ops: [
        { seq: 3, value: 3 },
        { seq: 5, value: 5 },
      ],
    });
    expect(await pending()).toBe(1);
    await phone.sibling({ sameDevice: true }).push({ pending: 3, ops: [{ seq: 1, value: 1 }] });
    expect(await pending()).toBe(4);
  });

  it("is nothing for another person's device, one that never synced, and what is no device", async () => {
    const ada = createReplica(system);
    const alan = createReplica(system);
    await ada.push({ ops: [{ seq: 1, value: 1 }] });
    const ids = [ada.caller.viewer.deviceId, randomUUID(), "no id"];
    expect(await statuses(alan, ids)).toEqual(ids.map((id) => ({ id, syncStatus: null })));
  });

  it("cannot be acknowledged by another device in its name", async () => {
    const phone = createReplica(system);
    await phone.push({ ops: [{ seq: 1, value: 1 }] });
    const laptop = phone.sibling();
    const { to } = await laptop.pull();
    const { errors } = await laptop.sendPull({ since: to, clientId: phone.clientId });
    expect(errors?.[0]?.extensions).toMatchObject({ code: "CONFLICT", reason: "CLIENT_OF_OTHER_DEVICE" });
  });
});
