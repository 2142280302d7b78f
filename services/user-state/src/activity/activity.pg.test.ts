import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createReplica, startSystem, type System } from "../system.fixture.ts";
import { addMedia, createPlayer, FILM, type Player } from "./activity.fixture.ts";

let system: System;
beforeAll(async () => {
  system = await startSystem();
  await addMedia(system);
  await system.admin.query(
    `INSERT INTO user_state.namespaces (name, version, kinds, schema, persistence, created_at)
     VALUES ('private', 1, '{"position": "PROGRESS"}', '{}', 'NONE', now())`,
  );
});
afterAll(() => system[Symbol.asyncDispose]());

const HOUR_MS = 3_600_000;

async function rowsOf({ replica }: Player): Promise<number> {
  const { rows } = await system.admin.query("SELECT count(*)::int FROM user_state.activities WHERE user_id = $1", [
    replica.caller.viewer.userId,
  ]);
  return rows[0].count;
}

describe("an activity", () => {
  it("is published with a lease, and published again it is the same: told to nobody, and renewed", async () => {
    const tv = createPlayer(system);
    const first = await tv.publish();
    expect(first).toMatchObject({
      ...FILM,
      kind: "watch",
      title: "Dune",
      uris: [{ platform: "web", uri: "https://films.example.com/dune" }],
      device: { id: tv.deviceId },
      endedAt: null,
      lease: { fence: 1, state: "HELD" },
    });
    const { to } = await tv.changes();
    const again = await tv.publish();
    expect(again).toMatchObject({ id: first.id, at: first.at, lease: { fence: 1 } });
    expect(Date.parse(again.lease?.expiresAt ?? "")).toBeGreaterThan(Date.parse(first.lease?.expiresAt ?? ""));
    expect(await tv.changes(to)).toMatchObject({ from: to, to, activities: [] });
    expect(await rowsOf(tv)).toBe(1);
  });

  it("that somebody takes up anew is told, and one that comes late is not", async () => {
    const tv = createPlayer(system);
    const { to } = await tv.changes();
    const now = Date.now();
    const began = await tv.publish({ title: "Part Two", stamp: { ms: now, counter: 1 }, clientNow: now });
    const late = await tv.publish({ title: "Part One", stamp: { ms: now - HOUR_MS, counter: 0 }, clientNow: now });
    expect(late).toMatchObject({ id: began.id, title: "Part Two", at: began.at });
    expect((await tv.changes(to)).activities).toMatchObject([{ title: "Part Two" }]);
  });

  it("is as old as its device says, whatever the device's clock says", async () => {
    const tv = createPlayer(system);
    const clientNow = Date.now() + 48 * HOUR_MS;
    const { at } = await tv.publish({ stamp: { ms: clientNow - HOUR_MS, counter: 0 }, clientNow });
    expect(Math.abs(Date.now() - HOUR_MS - Date.parse(at))).toBeLessThan(5_000);
    const { at: future } = await tv.publish({ ...FILM, key: "b", stamp: { ms: clientNow, counter: 0 }, clientNow: 0 });
    expect(Date.parse(future)).toBeLessThanOrEqual(Date.now());
  });

  it("has no lease while another device holds one, and gets one when nobody does", async () => {
    const tv = createPlayer(system);
    await tv.publish();
    const phone = tv.sibling();
    expect((await phone.publish()).lease).toBeNull();
    await system.admin.query("UPDATE user_state.activities SET lease_until = now() WHERE device_id = $1", [
      tv.deviceId,
    ]);
    expect((await phone.publish()).lease).toMatchObject({ fence: 2, state: "HELD" });
    // The one that had it is fenced off, and told.
    const { activities } = await tv.changes();
    expect(activities.find(({ device }) => device.id === tv.deviceId)?.lease).toMatchObject({ state: "LEASE_LOST" });
    await phone.report(10, { fence: 2 });
    expect(await tv.report(999, { fence: 1 })).toBe("MERGED");
  });

  it("goes on no more once it is ended, from any device and however often; only a new intent begins it again", async () => {
    const tv = createPlayer(system);
    const { id } = await tv.publish();
    const phone = tv.sibling();
    const { to } = await phone.changes();
    const { data } = await phone.end(id);
    expect(data?.endActivity.endedAt).toEqual(expect.any(String));
    expect((await tv.end(id)).data?.endActivity.endedAt).toBe(data?.endActivity.endedAt);
    expect((await tv.changes(to)).activities).toMatchObject([{ id, endedAt: data?.endActivity.endedAt }]);
    expect((await tv.changes()).activities).toEqual([]);
    expect((await tv.publish()).endedAt).toBe(data?.endActivity.endedAt);
    expect(await tv.resume()).toEqual([]);
    expect(await tv.publish({ stamp: { ms: Date.now(), counter: 1 } })).toMatchObject({ id, endedAt: null });
    expect(await tv.resume()).toHaveLength(1);
  });

  it("is over after a day", async () => {
    const tv = createPlayer(system);
    const { at, expiresAt, id } = await tv.publish();
    expect(Date.parse(expiresAt) - Date.parse(at)).toBeGreaterThanOrEqual(24 * HOUR_MS);
    await system.admin.query("UPDATE user_state.activities SET expires_at = now() WHERE id = $1", [id]);
    expect(await tv.resume()).toEqual([]);
    expect((await tv.changes()).activities).toEqual([]);
    expect((await tv.sendTakeOver(id)).errors?.[0]?.extensions.reason).toBe("ACTIVITY_NOT_FOUND");
  });

  it("is one of fifty at most", async () => {
    const tv = createPlayer(system);
    for (let count = 0; count < 53; count += 1) await tv.publish({ key: `film ${count}` });
    expect(await rowsOf(tv)).toBe(50);
    expect((await tv.changes()).activities.some(({ key }) => key === "film 52")).toBe(true);
    expect(await tv.resume()).toHaveLength(10);
  });

  it.each<[string, object, string]>([
    ["a namespace that is none", { namespace: "nowhere" }, "NAMESPACE_UNKNOWN"],
    ["a namespace of which nothing is kept", { namespace: "private" }, "NAMESPACE_NOT_STORED"],
    ["a field that is none", { field: "soundtrack" }, "FIELD_UNKNOWN"],
    ["an empty title", { title: " " }, "INPUT_INVALID"],
    ["a long title", { title: "x".repeat(201) }, "INPUT_INVALID"],
    ["a title with NUL", { title: "a\u0000b" }, "INPUT_INVALID"],
    ["a kind in capitals", { kind: "Watch" }, "INPUT_INVALID"],
    ["a key that is none", { key: "" }, "INPUT_INVALID"],
    ["a link that a browser runs", { uris: [{ platform: "web", uri: " javaScript:alert(1)" }] }, "INPUT_INVALID"],
    ["a link from memory", { uris: [{ platform: "web", uri: "data:text/html,x" }] }, "INPUT_INVALID"],
    ["half a link", { uris: [{ platform: "web", uri: "/dune" }] }, "INPUT_INVALID"],
    ["a long link", { uris: [{ platform: "web", uri: `https://a.example/${"x".repeat(2_048)}` }] }, "INPUT_INVALID"],
    [
      "two links of a platform",
      { uris: ["a", "b"].map((path) => ({ platform: "web", uri: `https://a.example/${path}` })) },
      "INPUT_INVALID",
    ],
    [
      "many links",
      { uris: Array.from({ length: 9 }, (_, at) => ({ platform: `p${at}`, uri: "https://a.example/" })) },
      "INPUT_INVALID",
    ],
    ["a counter beyond all counters", { stamp: { ms: 1, counter: 65_536 } }, "INPUT_INVALID"],
  ])("is not published with %s", async (_, about, reason) => {
    const tv = createPlayer(system);
    const { errors } = await tv.sendPublish(about);
    expect(errors?.[0]?.extensions).toMatchObject({ code: "BAD_USER_INPUT", reason });
    expect(await rowsOf(tv)).toBe(0);
  });
});

describe("changes of activities", () => {
  it("chain, page by page, and are one's own", async () => {
    const tv = createPlayer(system);
    for (const key of ["a", "b", "c"]) await tv.publish({ key });
    const first = await tv.changes(undefined, 2);
    expect(first).toMatchObject({ from: null, hasMore: true, activities: [{ key: "a" }, { key: "b" }] });
    const second = await tv.changes(first.to, 2);
    expect(second).toMatchObject({ from: first.to, hasMore: false, activities: [{ key: "c" }] });
    expect((await createPlayer(system).changes()).activities).toEqual([]);
  });

  it("of one moment are never parted: who loses a lease is told with who has it", async () => {
    const tv = createPlayer(system);
    const { id } = await tv.publish();
    const { to } = await tv.changes();
    const phone = tv.sibling();
    await system.admin.query("UPDATE user_state.activities SET lease_until = now() WHERE id = $1", [id]);
    await phone.takeOver(id);
    const { activities } = await tv.changes(to, 1);
    expect(new Set(activities.map(({ device }) => device.id))).toEqual(new Set([tv.deviceId, phone.deviceId]));
  });

  it.each(["nonsense", "999999"])("are not read from a cursor that was never given: %s", async (since) => {
    const tv = createPlayer(system);
    await tv.publish();
    expect((await tv.sendChanges(since)).errors?.[0]?.extensions).toMatchObject({ reason: "CURSOR_INVALID" });
  });
});

describe("resume", () => {
  it("is the newest intent first, with the device, its age and where others are", async () => {
    const tv = createPlayer(system);
    const phone = tv.sibling();
    await tv.publish();
    await tv.report(1_000, { fence: 1 });
    await phone.publish({ key: "emma", title: "Emma", stamp: { ms: Date.now(), counter: 0 } });
    expect((await tv.resume()).map(({ activity }) => activity.title)).toEqual(["Emma", "Dune"]);
    // Passive reports, and saying that one is still there, move nothing.
    await tv.report(50, { intent: "PASSIVE", fence: 1 });
    await tv.publish();
    expect((await tv.resume()).map(({ activity }) => activity.title)).toEqual(["Emma", "Dune"]);

    await phone.report(3_000);
    const [film, book] = await tv.resume();
    expect(film).toMatchObject({
      activity: { title: "Dune" },
      device: { id: phone.deviceId },
      point: { position: 3_000, intent: "PLAY", device: { id: phone.deviceId } },
      alternatives: [{ position: 50, intent: "PASSIVE", device: { id: tv.deviceId } }],
      entry: { kind: "PROGRESS", field: "position", value: { answer: { position: 3_000 } } },
    });
    expect(film?.ageMs).toBeLessThan(10_000);
    expect(book).toMatchObject({ device: { id: phone.deviceId }, point: null, alternatives: [], entry: null });
    await phone.report(200, { intent: "SEEK" });
    expect(await tv.resume()).toMatchObject([{ point: { position: 200 } }, { activity: { title: "Emma" } }]);
  });

  it("goes by the policy of the namespace, and so does what the state shows", async () => {
    const tv = createPlayer(system);
    const phone = tv.sibling();
    const ago = (player: Player, namespace: string, position: number, baseRev: number, seq: number) =>
      player.replica.push({
        ops: [
          {
            seq,
            ...FILM,
            namespace,
            baseRev,
            payload: { type: "REPORT", epoch: 0, position, duration: 7_000, unit: "SECONDS", intent: "PAUSE" },
          },
        ],
      });
    const answers: Record<string, unknown> = {};
    for (const [index, namespace] of ["media", "books", "courses"].entries()) {
      await tv.publish({ namespace });
      await ago(tv, namespace, 3_000, 0, index + 1);
      // Offline, and so without having heard of the other.
      const { outcomes } = await ago(phone, namespace, 1_000, 0, index + 1);
      expect(outcomes[0]?.status).toBe("APPLIED");
      const { entries } = await phone.replica.pull({ namespaces: [namespace] });
      answers[namespace] = entries[0]?.value;
    }
    const positions = { media: 1_000, books: 3_000, courses: null };
    for (const [namespace, position] of Object.entries(positions))
      expect(answers[namespace]).toMatchObject({ answer: position === null ? null : { position } });
    const resumed = await tv.resume();
    expect(resumed.map(({ point }) => point?.position ?? null)).toEqual([null, 3_000, 1_000]);
    expect(resumed[0]?.alternatives.map(({ position }) => position)).toEqual([1_000, 3_000]);
    expect(resumed.map(({ entry }) => entry?.value)).toEqual([answers["courses"], answers["books"], answers["media"]]);

    // A change that does not stand is told what does, by the same policy.
    const late = await tv.replica.push({
      ops: [{ seq: 4, ...FILM, namespace: "books", payload: { type: "RESTART", epoch: 0 } }],
    });
    expect(late.outcomes).toMatchObject([{ status: "NOOP", current: { answer: { position: 3_000 } } }]);
  });

  it("leaves out what is finished, sent, discarded or deleted, and has it again when it is begun anew", async () => {
    const tv = createPlayer(system);
    const draft = { field: "note", title: "Note" };
    await tv.publish();
    await tv.publish({ key: "mail", ...draft });
    await tv.publish({ key: "page", field: "page", title: "Page" });
    const titles = async () => (await tv.resume()).map(({ activity }) => activity.title).toSorted();
    expect(await titles()).toEqual(["Dune", "Note", "Page"]);
    const { replica } = tv;
    const push = async (seq: number, about: object, payload: object) => {
      const { outcomes } = await replica.push({ baseRev: 99, ops: [{ seq, ...FILM, ...about, payload }] });
      expect(outcomes[0]?.status).toBe("APPLIED");
    };
    const report = { epoch: 0, position: 6_990, duration: 7_000, unit: "SECONDS" };
    const note = { key: "mail", field: "note" };
    const edit = { type: "EDIT", name: "body", value: "Dear Ada" };
    await push(1, {}, { type: "REPORT", ...report, intent: "FINISH" });
    await push(2, note, { ...edit, generation: 0 });
    expect(await tv.resume()).toMatchObject([
      { activity: { title: "Note" }, entry: { value: { fields: { body: "Dear Ada" } } }, device: { id: tv.deviceId } },
      { activity: { title: "Page" } },
    ]);
    await push(3, note, { type: "SUBMIT", generation: 0, idempotencyKey: null });
    await push(4, { key: "page", field: "page" }, { type: "DELETE" });
    expect(await titles()).toEqual([]);
    await push(5, {}, { type: "RESTART", epoch: 1 });
    await push(6, note, { ...edit, generation: 1 });
    expect(await titles()).toEqual(["Dune", "Note"]);
    await push(7, note, { type: "DISCARD", generation: 1 });
    await push(8, { key: "page", field: "page" }, { type: "SET", value: 1 });
    expect(await titles()).toEqual(["Dune", "Page"]);
  });

  it("shows nothing of what was kept for a while and is over", async () => {
    const tv = createPlayer(system);
    await tv.publish();
    await tv.report(1_000, { fence: 1 });
    await system.admin.query("UPDATE user_state.state_entries SET expires_at = now() WHERE user_id = $1", [
      tv.replica.caller.viewer.userId,
    ]);
    expect(await tv.resume()).toMatchObject([{ activity: { title: "Dune" }, point: null, entry: null }]);
  });

  it("is one's own, and a device's is what was done last on it", async () => {
    const tv = createPlayer(system);
    const phone = tv.sibling();
    await tv.publish();
    await tv.report(1_000, { fence: 1 });
    const stranger = createPlayer(system, createReplica(system));
    await expect(stranger.resume(tv.replica.caller.viewer.userId)).rejects.toThrow("USER_NOT_FOUND");
    const devices = [tv, phone, createPlayer(system)].map(({ deviceId }) => ({ __typename: "Device", id: deviceId }));
    const ask = async (player: Player) => {
      const query = `query ($devices: [_Any!]!) {
        _entities(representations: $devices) { ... on Device { resume { activity { title } point { position } } } } }`;
      const { data, text } = await system.ask<{ _entities: { resume: unknown[] }[] }>(player.replica.caller, query, {
        devices,
      });
      if (data == null) throw new Error(text);
      return data._entities.map(({ resume }) => resume);
    };
    expect(await ask(phone)).toEqual([[{ activity: { title: "Dune" }, point: { position: 1_000 } }], [], []]);
    expect(await ask(stranger)).toEqual([[], [], []]);
  });
});

describe("a person's state", () => {
  const STATE = `query ($people: [_Any!]!, $namespaces: [String!], $since: String) {
    _entities(representations: $people) { ... on User {
      state(namespaces: $namespaces, since: $since) { from to hasMore entries { namespace key value } } } } }`;

  it("is what a pull without a replica would bring, and nobody else's to see", async () => {
    const { replica } = createPlayer(system);
    const { userId } = replica.caller.viewer;
    const ask = (id: string, variables: object = {}, asker = replica) =>
      system.ask<{ _entities: ({ state: { to: string } } | null)[] }>(asker.caller, STATE, {
        people: [{ __typename: "User", id }],
        ...variables,
      });
    await createPlayer(system, replica).report(10);
    await replica.push({ ops: [{ seq: 2, value: "dark" }] });
    expect((await ask(userId, { namespaces: ["preferences"] })).data?._entities).toMatchObject([
      { state: { entries: [{ namespace: "preferences", key: "theme", value: "dark" }], hasMore: false } },
    ]);
    const { data } = await ask(userId);
    expect(data?._entities[0]).toMatchObject({ state: { entries: [{ key: "dune" }, { key: "theme" }] } });
    expect((await ask(userId, { since: data?._entities[0]?.state.to })).data?._entities[0]).toMatchObject({
      state: { entries: [] },
    });
    for (const answer of [await ask(randomUUID()), await ask(userId, {}, createReplica(system))])
      expect(answer.errors?.[0]?.extensions).toMatchObject({ code: "NOT_FOUND", reason: "USER_NOT_FOUND" });
  });
});
