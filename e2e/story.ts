/**
 * The main use case in one story: what a person does on a phone is there on the laptop and the TV, and the laptop can
 * sign the phone out, provably. Told by stock clients against any running system; throws where the story does not hold.
 */
import assert from "node:assert/strict";
import { createDevice, type Device, type Person, signUp } from "./device.ts";
import { ask, eventually, type Live, refusal } from "./graph-client.ts";
import {
  DEVICE_CHANGED,
  DEVICES,
  type DeviceRow,
  ERASE_STATE,
  ME,
  REFRESH,
  SIGN_OUT_DEVICE,
  STATE_CHANGES,
} from "./operations.ts";

export interface StoryOptions {
  /** Base URLs such as `http://127.0.0.1:4000`: the phone and the TV use the first, the laptop the last. */
  readonly gateways: readonly [string, ...string[]];
  /** Called after each step. */
  readonly narrate: (step: { text: string; milliseconds: number }) => void;
}

const THEME = "preferences/reader/theme";
const POSITION = "playback/dune/positionSeconds";
const FURTHEST = "playback/dune/furthestSeconds";
const NOTE = "notes/packing-list/body";
const NOTE_TITLE = "notes/packing-list/title";

/** Tells the whole story once, with a new person. */
export async function tellStory({ gateways, narrate }: StoryOptions): Promise<void> {
  const [first] = gateways;
  const last = gateways.at(-1) ?? first;
  await using cast = new AsyncDisposableStack();
  const phone = createDevice({ gateway: first, name: "Phone", platform: "PHONE" });
  const laptop = createDevice({ gateway: last, name: "Laptop", platform: "LAPTOP" });
  const tv = createDevice({ gateway: first, name: "TV", platform: "TV" });
  const live = (device: Device): Live => cast.use(device.goLive());

  async function step<Result>(text: string, work: () => Promise<Result>): Promise<Result> {
    const startedAt = performance.now();
    const result = await work();
    narrate({ text, milliseconds: performance.now() - startedAt });
    return result;
  }

  const person = await step("Somebody signs up on a phone", () => signUp(first));
  await step("and signs in there", () => phone.signIn(person));
  const phoneLive = live(phone);
  const phoneSees = phoneLive.watch(DEVICE_CHANGED);
  await step("sets a preference, starts a film, writes half a note", () => beginOnPhone(phone));

  await step("They sign in on a laptop", () => laptop.signIn(person));
  const bank = await openBank(laptop, person, last);
  await step("and find the preference, the position and the note", async () => {
    await laptop.pull();
    assert.deepEqual(seenOn(laptop), { theme: "sepia", position: 1_930, note: "Towel, " });
  });
  const laptopLive = live(laptop);
  const laptopSees = laptopLive.watch(DEVICE_CHANGED);
  await step("Each device sees the other, live", async () => {
    await phoneSees.until("the phone seeing the laptop", ({ deviceChanged }) => has(deviceChanged.devices, laptop.id));
    await laptopSees.until("the laptop seeing the phone", ({ deviceChanged }) => has(deviceChanged.devices, phone.id));
  });

  await step("The laptop goes on a train and edits the note offline", async () => {
    laptop.change(NOTE, "Towel, toothbrush, good shoes");
  });
  await step("Meanwhile the phone changes the preference and names the note", async () => {
    phone.change(THEME, "dark");
    phone.change(NOTE_TITLE, "Packing list");
    await phone.push();
  });
  await step("The network is back: the note arrives, merged, nothing lost, and sent twice it counts once", () =>
    comeBackOnline(laptop, phone),
  );
  await step("and what one device changes, the other sees live", () => followLive(phone, laptop, laptopLive));

  await step("They sign in on the TV: the film goes on where it was", async () => {
    await tv.signIn(person);
    await tv.pull();
    assert.equal(tv.state.get(POSITION), 2_000);
    tv.change(POSITION, 2_100);
    await tv.push();
  });

  await step('On the laptop they open "Your devices"', () => lookAtDevices(laptop, phone, tv));
  await step("sign the phone out: what it watched ends with the reason, and its socket closes", async () => {
    const { signOutDevice } = await laptop.ask(SIGN_OUT_DEVICE, { id: phone.id });
    assert.equal(signOutDevice.receipt?.sessionsEnded, 1);
    assert.match(JSON.stringify(await phoneSees.refused), /SESSION_ENDED.*SIGNED_OUT_REMOTELY/);
    const { code, reason } = await phoneLive.closed;
    assert.deepEqual({ code, reason }, { code: 4403, reason: "SESSION_ENDED: SIGNED_OUT_REMOTELY" });
  });
  await step("The row says when the phone confirmed", async () => {
    const confirmed = (row: DeviceRow): boolean =>
      row.id === phone.id && !row.isSignedIn && row.signOut?.confirmedAt != null;
    await laptopSees.until("the phone's confirmation", ({ deviceChanged }) => deviceChanged.devices.some(confirmed));
  });
  await step("and every gateway refuses the phone's tokens", () => refuseEverywhere(phone, gateways));

  await step("The bank's session has lapsed on its own, by the bank's stricter policy", () =>
    letBankLapse(bank, laptop),
  );
  await step("TV and laptop go on undisturbed", async () => {
    for (const device of [tv, laptop]) {
      await device.refresh();
      assert.equal((await device.ask(ME)).me?.email, person.email);
    }
  });

  await step("They take all that is kept of them home as a file", () => takeHome(laptop, last));
  await step("and erase it: the laptop, which watches, drops what it held, and so does the TV when it asks", () =>
    erase(tv, laptop, live),
  );
}

async function takeHome(device: Device, gateway: string): Promise<void> {
  const response = await fetch(`${gateway}/account/state`, {
    headers: { authorization: `Bearer ${device.accessToken}` },
  });
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("content-type"), "application/x-ndjson");
  assert.equal(response.headers.get("content-disposition"), 'attachment; filename="state.ndjson"');
  const lines = (await response.text()).trimEnd().split("\n");
  assert.ok(lines.some((line) => line.includes("Towel, toothbrush, good shoes")));
}

async function erase(asker: Device, watcher: Device, live: (device: Device) => Live): Promise<void> {
  const watching = live(watcher).watch(STATE_CHANGES);
  await watching.until("the laptop's copy", ({ stateChanges }) => stateChanges.reset === "INITIAL");
  const { eraseState } = await asker.ask(ERASE_STATE);
  assert.ok(eraseState.namespaces.some(({ namespace, entries }) => namespace === "notes" && entries > 0));
  await watching.until("the laptop hearing of it", ({ stateChanges }) => stateChanges.reset === "EPOCH_CHANGED");
  await asker.pull();
  assert.equal(asker.state.size, 0);
}

async function beginOnPhone(phone: Device): Promise<void> {
  await phone.pull();
  phone.change(THEME, "sepia");
  phone.change(POSITION, 1_930);
  phone.change(FURTHEST, 1_930);
  phone.change(NOTE, "Towel, ");
  const { statuses } = await phone.push();
  assert.deepEqual(statuses, ["APPLIED", "APPLIED", "APPLIED", "APPLIED"]);
}

function seenOn(device: Device): { theme: unknown; position: unknown; note: unknown } {
  return { theme: device.state.get(THEME), position: device.state.get(POSITION), note: device.state.get(NOTE) };
}

/** The bank is another application on the same laptop, with its own session and policy. */
async function openBank(laptop: Device, person: Person, gateway: string): Promise<Device> {
  const bank = createDevice({ gateway, name: laptop.name, platform: "LAPTOP", id: laptop.id });
  await bank.signIn(person, "bank");
  assert.equal(bank.id, laptop.id, "the same device has one row, whatever runs on it");
  return bank;
}

async function comeBackOnline(laptop: Device, phone: Device): Promise<void> {
  const sent = await laptop.push({ keepQueue: true });
  assert.deepEqual(sent.statuses, ["APPLIED"]);
  const again = await laptop.push();
  assert.deepEqual(again, { statuses: ["DUPLICATE"], headRev: sent.headRev });
  await Promise.all([laptop.pull(), phone.pull()]);
  const merged = { theme: "dark", position: 1_930, note: "Towel, toothbrush, good shoes" };
  assert.deepEqual(seenOn(laptop), merged);
  assert.deepEqual(seenOn(phone), merged);
  assert.equal(laptop.state.get(NOTE_TITLE), "Packing list");
}

/** Two positions arrive out of order, and the furthest one never goes back. */
async function followLive(phone: Device, laptop: Device, laptopLive: Live): Promise<void> {
  const changes = laptopLive.watch(STATE_CHANGES, { since: laptop.cursor });
  phone.change(POSITION, 2_000);
  phone.change(FURTHEST, 1_000);
  await phone.push();
  await changes.until("the new position", ({ stateChanges }) => {
    laptop.apply(stateChanges);
    return laptop.state.get(POSITION) === 2_000;
  });
  assert.equal(laptop.state.get(FURTHEST), 1_930);
}

async function lookAtDevices(laptop: Device, phone: Device, tv: Device): Promise<void> {
  // A pull acknowledges what the previous one delivered.
  for (let pulls = 0; pulls < 2; pulls += 1) await phone.pull();
  const rows = await devicesOf(laptop);
  assert.deepEqual(new Set(rows.map(({ id }) => id)), new Set([laptop.id, phone.id, tv.id]));
  assert.equal(rows[0]?.id, laptop.id, "the current device comes first");
  for (const row of rows) {
    assert.ok(row.isSignedIn, `${row.name} is signed in`);
    assert.equal(row.isCurrent, row.id === laptop.id);
    assert.ok(row.sessions.some(({ state, application }) => state === "ACTIVE" && application.id === "continuo"));
  }
  const phoneRow = rows.find(({ id }) => id === phone.id);
  assert.equal(phoneRow?.syncStatus?.ackedRev, phoneRow?.syncStatus?.headRev, "the phone has everything");
}

async function refuseEverywhere(phone: Device, gateways: readonly string[]): Promise<void> {
  for (const gateway of gateways) {
    await eventually(
      `${gateway} refusing the phone's access token`,
      () =>
        ask(gateway, ME, {}, phone.accessToken).then(
          () => "answered",
          ({ reason, status }) => `${status} ${reason}`,
        ),
      (answer) => answer === "401 SESSION_ENDED",
    );
    const refused = await refusal(ask(gateway, REFRESH, { token: phone.refreshToken }));
    assert.deepEqual(
      { code: refused.code, reason: refused.reason, endReason: refused.details["endReason"] },
      { code: "UNAUTHENTICATED", reason: "SESSION_ENDED", endReason: "SIGNED_OUT_REMOTELY" },
    );
  }
}

async function letBankLapse(bank: Device, laptop: Device): Promise<void> {
  await eventually(
    "the bank's session lapsing",
    () => devicesOf(laptop),
    (rows) =>
      rows.some(({ sessions }) =>
        sessions.some(({ application, endReason }) => application.id === "bank" && endReason === "IDLE"),
      ),
  );
  const refused = await refusal(bank.refresh());
  assert.deepEqual(
    { reason: refused.reason, endReason: refused.details["endReason"] },
    { reason: "SESSION_ENDED", endReason: "IDLE" },
  );
  const { status } = await refusal(bank.ask(ME));
  assert.equal(status, 401, "its access token did not outlive it");
}

async function devicesOf(device: Device): Promise<readonly DeviceRow[]> {
  return (await device.ask(DEVICES)).viewer?.devices.nodes ?? [];
}

function has(rows: readonly DeviceRow[], id: string): boolean {
  return rows.some((row) => row.id === id && row.isSignedIn);
}
