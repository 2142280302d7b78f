import { createLogger } from "@continuo/process";
import { activityTopic, startPokes } from "@continuo/signals";
import { randomUUID } from "node:crypto";
import { Pool } from "pg";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { createNamespaces } from "../namespace/namespace.ts";
import { createNamespaceStore } from "../namespace/namespace.store.ts";
import { createReplica, startSystem, type System } from "../system.fixture.ts";
import { createActivityStore } from "./activity.store.ts";
import { addMedia, createPlayer, FILM, type ActivityAnswer, type Player } from "./activity.fixture.ts";
import { createTakeOvers, type TakeOvers } from "./take-over.ts";

let system: System;
beforeAll(async () => {
  system = await startSystem();
  await addMedia(system);
});
afterAll(() => system[Symbol.asyncDispose]());

interface PatientTakeOvers extends TakeOvers, AsyncDisposable {
  /** Ends the time in which `asked` may answer. */
  endTimeOf(asked: Player): Promise<void>;
}

/**
 * Takes over as the subgraph does, with ten minutes for the flush by default; with `dies` it stops between its
 * transactions.
 */
async function startPatientTakeOvers(
  { env, admin }: System,
  { flushMs = 600_000, dies = false } = {},
): Promise<PatientTakeOvers> {
  await using stack = new AsyncDisposableStack();
  const pool = stack.adopt(new Pool({ connectionString: env.DATABASE_URL, max: 2 }), (opened) => opened.end());
  const logger = createLogger({ name: "test", level: "silent" });
  const pokes = stack.use(await startPokes({ databaseUrl: env.DATABASE_URL, logger }));
  const takeOvers = createTakeOvers({
    store: createActivityStore(pool),
    namespaces: createNamespaces({ store: createNamespaceStore(pool), now: () => performance.now() }),
    newId: randomUUID,
    announce: {
      activities: (userId, rev) => void pokes.publish(activityTopic(userId), rev),
      state: () => undefined,
    },
    async listen(userId, wake) {
      // After the first of its transactions, and before the second.
      if (dies) throw new Error("killed");
      return pokes.subscribe(activityTopic(userId), { onPoke: wake, onGap: wake });
    },
    flushMs,
  });
  const opened = stack.move();
  return {
    ...takeOvers,
    async endTimeOf({ deviceId, replica }) {
      await admin.query("UPDATE user_state.activities SET flush_until = now() WHERE device_id = $1", [deviceId]);
      await pokes.publish(activityTopic(replica.caller.viewer.userId), 0);
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

/** Somebody watches on the TV, at 1,000 s, and has a phone at hand. */
async function watching(): Promise<{ tv: Player; phone: Player; activity: ActivityAnswer; fence: number }> {
  const tv = createPlayer(system);
  const activity = await tv.publish();
  const fence = activity.lease?.fence ?? 0;
  await tv.report(1_000, { fence });
  return { tv, phone: tv.sibling(), activity, fence };
}

/** The lease as its device sees it in `activityChanges`. */
async function leaseOn(player: Player, state: string, since?: string): Promise<ActivityAnswer & { to: string }> {
  return vi.waitFor(
    async () => {
      const { activities, to } = await player.changes(since);
      const own = activities.find(({ device, lease }) => device.id === player.deviceId && lease?.state === state);
      if (own === undefined) throw new Error(`no ${state} among ${JSON.stringify(activities)}`);
      return { ...own, to };
    },
    { timeout: 60_000, interval: 10 },
  );
}

const positionOf = async (player: Player): Promise<unknown> => (await player.resume())[0]?.point?.position;

/** The lease runs out, as if nobody had renewed it. */
async function expire(player: Player): Promise<void> {
  await system.admin.query("UPDATE user_state.activities SET lease_until = now() WHERE device_id = $1", [
    player.deviceId,
  ]);
}

describe("taking over", () => {
  it("waits for what the other device sends when it is asked, and goes on from there", async () => {
    const { tv, phone, activity, fence } = await watching();
    const { to } = await tv.changes();
    await using patient = await startPatientTakeOvers(system);
    const taking = patient.takeOver(phone.replica.caller.viewer, activity.id, { force: false });
    const asked = await leaseOn(tv, "FLUSH_REQUEST", to);
    expect(asked.lease).toMatchObject({ fence });
    await tv.report(1_015, { intent: "PAUSE", fence });
    const { data } = await tv.confirm(asked.id, fence);
    expect(data?.confirmFlush.lease?.state).toBe("LEASE_LOST");

    const taken = await taking;
    expect(taken).toMatchObject({
      fence: fence + 1,
      flushed: "FLUSHED",
      activity: { title: "Dune", device: { id: phone.deviceId }, lease: { state: "HELD", fence: fence + 1 } },
      entry: { kind: "PROGRESS", state: { fence: fence + 1, devices: [{ latest: { position: 1_015 } }] } },
    });
    expect(await phone.resume()).toMatchObject([{ point: { position: 1_015 }, device: { id: tv.deviceId } }]);
  });

  it("goes on without a device that says nothing for 800 ms; what comes later is kept and moves nothing", async () => {
    const { tv, phone, activity, fence } = await watching();
    const startedAt = performance.now();
    const taken = await phone.takeOver(activity.id);
    expect(performance.now() - startedAt).toBeGreaterThan(790);
    expect(taken).toMatchObject({ fence: fence + 1, flushed: "NOT_FLUSHED" });
    await leaseOn(tv, "LEASE_LOST");
    expect((await tv.confirm(activity.id, fence)).data?.confirmFlush.lease?.state).toBe("LEASE_LOST");

    expect(await tv.report(5_000, { fence })).toBe("MERGED");
    expect(await phone.resume()).toMatchObject([
      { point: { position: 1_000 }, alternatives: [{ position: 5_000, device: { id: tv.deviceId } }] },
    ]);
    expect(await phone.report(1_200, { fence: taken.fence, intent: "SEEK" })).toBe("APPLIED");
    expect(await tv.report(6_000, { fence })).toBe("MERGED");
    expect(await positionOf(tv)).toBe(1_200);
  });

  it("tells a device that was asked and said nothing, by its cursor, when its time is up", async () => {
    const { tv, phone, activity } = await watching();
    await using patient = await startPatientTakeOvers(system);
    const taking = patient.takeOver(phone.replica.caller.viewer, activity.id, { force: false });
    const { to } = await leaseOn(tv, "FLUSH_REQUEST");
    await patient.endTimeOf(tv);
    expect((await taking).flushed).toBe("NOT_FLUSHED");
    expect((await leaseOn(tv, "LEASE_LOST", to)).id).toBe(activity.id);
  });

  it("does not wait when it is forced to, and tells the other device that it has lost the lease", async () => {
    const { tv, phone, activity, fence } = await watching();
    const { to } = await tv.changes();
    await using patient = await startPatientTakeOvers(system);
    const { viewer } = phone.replica.caller;
    expect(await patient.takeOver(viewer, activity.id, { force: true })).toMatchObject({ flushed: "NOT_FLUSHED" });
    const { activities } = await tv.changes(to);
    expect(activities.find(({ id }) => id === activity.id)?.lease?.state).toBe("LEASE_LOST");
    expect(await tv.report(5_000, { fence })).toBe("MERGED");
    expect(await positionOf(phone)).toBe(1_000);
  });

  it("does not ask a device whose lease has run out; that one loses nothing, and its lease to nobody but who takes over", async () => {
    const { tv, phone, activity, fence } = await watching();
    await expire(tv);
    expect((await tv.changes()).activities[0]?.lease?.state).toBe("EXPIRED");
    expect(await tv.report(1_100, { fence })).toBe("APPLIED");

    const taken = await phone.takeOver(activity.id);
    expect(taken).toMatchObject({ flushed: "OFFLINE", entry: { value: { answer: { position: 1_100 } } } });
    // It was away, and comes back with what it did meanwhile.
    expect(await tv.report(3_000, { fence })).toBe("MERGED");
    expect(await phone.resume()).toMatchObject([{ point: { position: 1_100 }, alternatives: [{ position: 3_000 }] }]);
    expect((await tv.publish()).lease).toMatchObject({ state: "LEASE_LOST", fence });
  });

  it("is answered the same when it is sent again", async () => {
    const { phone, activity } = await watching();
    const taken = await phone.takeOver(activity.id);
    const { to } = await phone.changes();
    const again = await phone.takeOver(activity.id);
    expect(again).toMatchObject({ fence: taken.fence, flushed: "NOT_FLUSHED", activity: { id: taken.activity.id } });
    expect(await phone.takeOver(taken.activity.id)).toMatchObject({ fence: taken.fence });
    expect((await phone.changes(to)).activities.every(({ lease }) => (lease?.fence ?? 0) <= taken.fence)).toBe(true);
  });

  it("by two devices at once: one fence wins, and both know", async () => {
    const { tv, phone, activity, fence } = await watching();
    const tablet = tv.sibling();
    const both = [phone, tablet];
    const taken = await Promise.all(both.map((device) => device.takeOver(activity.id)));
    expect(taken.map((each) => each.fence).toSorted((one, other) => one - other)).toEqual([fence + 1, fence + 2]);
    const winner = taken.findIndex((each) => each.fence === fence + 2);
    expect(taken.map(({ activity }) => activity.lease?.state)).toEqual(
      winner === 0 ? ["HELD", "LEASE_LOST"] : ["LEASE_LOST", "HELD"],
    );
    const [first, second] = [both[winner], both[1 - winner]];
    await leaseOn(tv, "LEASE_LOST");
    expect(await second?.report(2_000, { fence: fence + 1 })).toBe("MERGED");
    expect(await first?.report(3_000, { fence: fence + 2 })).toBe("APPLIED");
    expect(await positionOf(tv)).toBe(3_000);
  });

  it("by a second device in the meantime still waits for the first one's answer", async () => {
    const { tv, phone, activity, fence } = await watching();
    const tablet = tv.sibling();
    await using patient = await startPatientTakeOvers(system);
    const takeOver = (device: Player) => patient.takeOver(device.replica.caller.viewer, activity.id, { force: false });
    const early = takeOver(phone);
    await leaseOn(tv, "FLUSH_REQUEST");
    const askedUntil = async (): Promise<Date> => {
      const { rows } = await system.admin.query("SELECT flush_until FROM user_state.activities WHERE id = $1", [
        activity.id,
      ]);
      return rows[0].flush_until;
    };
    const until = await askedUntil();
    const late = takeOver(tablet);
    await leaseOn(phone, "LEASE_LOST");
    // It has no more time than it was given.
    expect(await askedUntil()).toEqual(until);
    await tv.report(1_010, { fence });
    await tv.confirm(activity.id, fence);
    expect(await late).toMatchObject({ flushed: "FLUSHED", fence: fence + 2 });
    expect(await positionOf(tablet)).toBe(1_010);
    expect((await early).activity.lease?.state).toBe("LEASE_LOST");
    expect(await phone.report(9, { fence: fence + 1 })).toBe("MERGED");
  });

  it("holds no connection while it waits: more of them than there are connections", async () => {
    const people: Awaited<ReturnType<typeof watching>>[] = [];
    while (people.length < 5) people.push(await watching());
    await using patient = await startPatientTakeOvers(system);
    const taking = Promise.all(
      people.map(({ phone, activity }) => patient.takeOver(phone.replica.caller.viewer, activity.id, { force: false })),
    );
    const asked = await Promise.all(people.map(({ tv }) => leaseOn(tv, "FLUSH_REQUEST")));
    await Promise.all(people.map(({ tv, fence }, index) => tv.confirm(asked[index]?.id ?? "", fence)));
    expect((await taking).map(({ flushed }) => flushed)).toEqual(people.map(() => "FLUSHED"));
  });

  it.each<[string, (on: { tv: Player; phone: Player; activity: ActivityAnswer; fence: number }) => Promise<unknown>]>([
    ["the same again", ({ phone, activity }) => phone.takeOver(activity.id)],
    ["a renewal by whoever took over", ({ phone }) => phone.publish()],
    ["a renewal by whoever had it", ({ tv }) => tv.publish()],
    ["an answer that comes too late", ({ tv, activity, fence }) => tv.confirm(activity.id, fence)],
    ["the end of it where it was", ({ tv, activity }) => tv.end(activity.id)],
  ])("that breaks off in the middle, as its process dies, is finished by %s", async (_what, next) => {
    const on = await watching();
    const { tv, phone, activity, fence } = on;
    await using dying = await startPatientTakeOvers(system, { flushMs: 50, dies: true });
    await expect(dying.takeOver(phone.replica.caller.viewer, activity.id, { force: false })).rejects.toThrow("killed");
    // Until then nobody goes on anywhere else, and nothing is lost.
    const { to } = await leaseOn(tv, "LEASE_LOST");
    expect(await tv.report(1_010, { fence })).toBe("APPLIED");

    await next(on);
    expect(await tv.report(5_000, { fence })).toBe("MERGED");
    expect(await positionOf(phone)).toBe(1_010);
    expect((await leaseOn(tv, "LEASE_LOST", to)).id).toBe(activity.id);
    expect((await phone.publish()).lease).toMatchObject({ state: "HELD", fence: fence + 1 });
  });

  it("of what nobody has written yet keeps it closed for the device that had it", async () => {
    const tv = createPlayer(system);
    const { id, lease } = await tv.publish();
    const phone = tv.sibling();
    const taken = await phone.takeOver(id, { force: true });
    expect(taken.entry).toMatchObject({ value: null });
    expect(await tv.report(100, { fence: lease?.fence ?? 0 })).toBe("MERGED");
    expect(await positionOf(phone)).toBeUndefined();
    await phone.report(200, { fence: taken.fence });
    expect(await positionOf(phone)).toBe(200);
  });

  it("of what is over by now shows nothing of it", async () => {
    const { phone, activity } = await watching();
    await system.admin.query("UPDATE user_state.state_entries SET expires_at = now() WHERE user_id = $1", [
      phone.replica.caller.viewer.userId,
    ]);
    expect((await phone.takeOver(activity.id, { force: true })).entry).toBeNull();
  });

  it("is not undone when the activity of the one who took over is forgotten", async () => {
    const { tv, phone, activity } = await watching();
    const taken = await phone.takeOver(activity.id, { force: true });
    expect((await tv.publish()).lease?.state).toBe("LEASE_LOST");
    await system.admin.query("DELETE FROM user_state.activities WHERE id = $1", [taken.activity.id]);
    const { lease } = await tv.publish();
    expect(lease).toMatchObject({ state: "HELD", fence: taken.fence + 1 });
    expect(await tv.report(2_000, { fence: taken.fence + 1 })).toBe("APPLIED");
  });

  it("is told to whoever follows the state: the unit has another revision, and is counted as it is stored", async () => {
    const { phone, activity } = await watching();
    const before = await phone.replica.pull();
    await phone.takeOver(activity.id, { force: true });
    const after = await phone.replica.pull({ since: before.to });
    expect(after.entries).toMatchObject([{ ...FILM, state: { fence: 2 } }]);
    const { rows } = await system.admin.query(
      `SELECT sum(entry.bytes)::int AS stored, head.bytes::int AS counted FROM user_state.state_entries AS entry
       JOIN user_state.user_heads AS head USING (user_id) WHERE user_id = $1 GROUP BY head.bytes`,
      [phone.replica.caller.viewer.userId],
    );
    expect(rows[0].stored).toBe(rows[0].counted);
  });

  it("is nobody else's: another person's activity is none, nor is one that is over", async () => {
    const { tv, phone, activity, fence } = await watching();
    const stranger = createPlayer(system, createReplica(system));
    const gone = { code: "NOT_FOUND", reason: "ACTIVITY_NOT_FOUND" };
    for (const answer of [
      await stranger.sendTakeOver(activity.id),
      await stranger.confirm(activity.id, fence),
      await stranger.end(activity.id),
      await phone.sendTakeOver("no id"),
      // Of the same person, but another device's to answer.
      await phone.confirm(activity.id, fence),
      await tv.confirm(activity.id, fence + 1),
    ])
      expect(answer.errors?.[0]?.extensions).toMatchObject(gone);
    expect((await tv.changes()).activities[0]?.lease).toMatchObject({ state: "HELD", fence });
    await tv.end(activity.id);
    expect((await phone.sendTakeOver(activity.id)).errors?.[0]?.extensions).toMatchObject(gone);
  });
});
