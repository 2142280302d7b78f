/** Continuing a film on another device, over two gateways: the previous device is asked for its state over its socket. */
import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { z } from "zod";
import { createDevice, signUp, type Device } from "./device.ts";
import type { Watch } from "./graph-client.ts";
import { PUSH } from "./operations.ts";
import type { System } from "./system.ts";

const activity = z.object({
  id: z.string(),
  device: z.object({ id: z.string(), name: z.string() }),
  lease: z.object({ fence: z.number(), state: z.string() }).nullable(),
});
const ACTIVITY = "{ id device { id name } lease { fence state } }";
const FILM = { namespace: "playback", key: "dune", field: "position" };

const PUBLISH = {
  text: `mutation ($input: PublishActivityInput!) { publishActivity(input: $input) ${ACTIVITY} }`,
  data: z.object({ publishActivity: activity }),
};
const TAKE_OVER = {
  text: `mutation ($id: ID!) { takeOver(activityId: $id) { fence flushed activity ${ACTIVITY} entry { value } } }`,
  data: z.object({
    takeOver: z.object({
      fence: z.number(),
      flushed: z.string(),
      activity,
      entry: z.object({ value: z.object({ answer: z.object({ position: z.number() }) }) }),
    }),
  }),
};
const CONFIRM = {
  text: `mutation ($id: ID!, $fence: Int!) { confirmFlush(activityId: $id, fence: $fence) ${ACTIVITY} }`,
  data: z.object({ confirmFlush: activity }),
};
const CHANGED = {
  text: `subscription { activityChanged { from to activities ${ACTIVITY} } }`,
  data: z.object({
    activityChanged: z.object({ from: z.string().nullable(), to: z.string(), activities: z.array(activity) }),
  }),
};
const RESUME = {
  text: `{ me { email resume { activity { title } device { name } point { position } } state(namespaces: ["playback"]) { entries { key } } }
    viewer { devices { nodes { name resume { point { position } } syncStatus { pending } } } } }`,
  data: z.object({
    me: z.object({
      email: z.string(),
      resume: z.array(z.unknown()),
      state: z.object({ entries: z.array(z.unknown()) }),
    }),
    viewer: z.object({ devices: z.object({ nodes: z.array(z.object({ name: z.string() }).loose()) }) }),
  }),
};

type Player = ReturnType<typeof createPlayer>;

/** What a device does here, in addition to the story. */
function createPlayer(device: Device) {
  const clientId = randomUUID();
  let seq = 0;
  return {
    device,
    async report(position: number, fence: number): Promise<string | undefined> {
      seq += 1;
      const payload = { type: "REPORT", epoch: 0, position, duration: 7_000, unit: "SECONDS", intent: "PAUSE", fence };
      await device.pull();
      const { epoch, rev } = device.known;
      const now = Date.now();
      const op = { seq, ...FILM, payload, stamp: { ms: now, counter: 0 }, baseRev: rev };
      const input = { clientId, epoch, clientNow: now, baseRev: rev, pending: 2, ops: [op] };
      return (await device.ask(PUSH, { input })).pushState.outcomes[0]?.status;
    },
  };
}

/** Flushes what it has when asked, and says so. */
async function giveUp(
  player: Player,
  live: Watch<z.infer<typeof CHANGED.data>>,
  fence: number,
  position: number,
): Promise<void> {
  const { device } = player;
  const isMine = (state: string) => (each: z.infer<typeof activity>) =>
    each.device.id === device.id && each.lease?.state === state && each.lease.fence === fence;
  const { activityChanged } = await live.until("the request to flush", ({ activityChanged }) =>
    activityChanged.activities.some(isMine("FLUSH_REQUEST")),
  );
  await player.report(position, fence);
  const own = activityChanged.activities.find(isMine("FLUSH_REQUEST"));
  await device.ask(CONFIRM, { id: own?.id, fence });
  await live.until("the loss of the lease", ({ activityChanged }) =>
    activityChanged.activities.some(isMine("LEASE_LOST")),
  );
}

/** Registers the test for a system with two gateways that is running by the time it runs. */
export function describeTakeOver(running: () => System): void {
  test("a phone goes on where the TV was, and the TV knows that it does", async () => {
    const system = running();
    const person = await signUp(system.urls[0]);
    const [tv, phone] = ["TV", "Phone"].map((name, index) =>
      createPlayer(createDevice({ gateway: system.urls[index] ?? "", name, platform: "OTHER" })),
    );
    if (tv === undefined || phone === undefined) throw new Error("there are two");
    await tv.device.signIn(person);
    await phone.device.signIn(person);
    await using socket = tv.device.goLive();
    const live = socket.watch(CHANGED);

    const input = {
      kind: "watch",
      title: "Dune",
      ...FILM,
      stamp: { ms: Date.now(), counter: 0 },
      clientNow: Date.now(),
    };
    const { publishActivity } = await tv.device.ask(PUBLISH, { input });
    const fence = publishActivity.lease?.fence ?? 0;
    await tv.report(1_000, fence);

    const [{ takeOver }] = await Promise.all([
      phone.device.ask(TAKE_OVER, { id: publishActivity.id }),
      giveUp(tv, live, fence, 1_015),
    ]);
    // A busy machine may take longer than 800 ms; then what arrives late moves nothing.
    const position = takeOver.flushed === "FLUSHED" ? 1_015 : takeOver.entry.value.answer.position;
    expect(takeOver).toMatchObject({
      fence: fence + 1,
      flushed: expect.stringMatching(/^(NOT_)?FLUSHED$/),
      activity: { device: { name: "Phone" }, lease: { state: "HELD" } },
      entry: { value: { answer: { position } } },
    });
    expect(await tv.report(5_000, fence)).toBe("MERGED");
    expect(await phone.report(2_000, fence + 1)).toBe("APPLIED");

    const { me, viewer } = await tv.device.ask(RESUME);
    expect(me).toMatchObject({
      email: person.email,
      resume: [{ activity: { title: "Dune" }, device: { name: "Phone" }, point: { position: 2_000 } }],
      state: { entries: [{ key: "dune" }] },
    });
    const rows = new Map(viewer.devices.nodes.map((node) => [node.name, node]));
    expect(rows.get("Phone")).toMatchObject({ resume: [{ point: { position: 2_000 } }], syncStatus: { pending: 2 } });
    expect(rows.get("TV")).toMatchObject({ resume: [], syncStatus: { pending: 2 } });
  });
}
