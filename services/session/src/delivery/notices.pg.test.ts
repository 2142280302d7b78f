/** Which recipients get which notices when sessions end, whatever ended them. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { operate } from "../operator.fixture.ts";
import { faultOf, type SignedIn } from "../person.fixture.ts";
import { type Deliveries, startDeliveries } from "../delivery.fixture.ts";
import { createRevocationJobsStore } from "../revocation/jobs.store.ts";
import { createDeliveryStore } from "./delivery.store.ts";
import { type Receiver, startReceiver } from "./receiver.fixture.ts";

const EVERYTHING = "expire-sessions,fan-out-revocation,deliver-notices";
const Event = z.object({
  type: z.string(),
  data: z.object({ seq: z.number(), reason: z.string(), sessions: z.array(z.object({ sid: z.string() })) }),
});
const SignOut = z.object({ receipt: z.object({ seq: z.string() }) });

let deliveries: Deliveries;
beforeAll(async () => {
  deliveries = await startDeliveries();
});
afterAll(() => deliveries[Symbol.asyncDispose]());

let keys = 0;
const newKey = (): string => `notices-key-${(keys += 1)}`;
const events = ({ received }: Receiver): z.infer<typeof Event>[] =>
  received.filter(({ path }) => path === "/hook").map(({ body }) => Event.parse(JSON.parse(body)));
async function signOutOthers(laptop: SignedIn): Promise<string> {
  const data = await laptop.data("mutation { signOutOtherDevices { receipt { seq } } }");
  return SignOut.parse(data["signOutOtherDevices"]).receipt.seq;
}
const undo = (laptop: SignedIn, seq: string): Promise<unknown> =>
  laptop.data("mutation ($seq: String!) { undoSignOut(seq: $seq) { receipt { seq } } }", { seq });
const Changes = z.object({ to: z.string(), devices: z.array(z.unknown()) });
/** The user's devices that changed after a cursor, as one of them is told. */
async function changesSeenBy(device: SignedIn, since?: string): Promise<z.infer<typeof Changes>> {
  const { deviceChanges } = await device.data(
    "query ($since: String) { deviceChanges(since: $since) { to devices { id isSignedIn signOut { reason } } } }",
    { since },
  );
  return Changes.parse(deviceChanges);
}

describe("a sign-out that is taken back", () => {
  it("is told to webhooks after it, and to no application", async () => {
    await using receiver = await startReceiver();
    const app = await deliveries.application(`${receiver.url}/out`);
    const hook = await deliveries.addWebhook(app, `${receiver.url}/hook`);
    const person = deliveries.system.person();
    const laptop = await person.signIn({ applicationId: app, jkt: newKey() });
    const phone = await person.signIn({ applicationId: app, jkt: newKey() });
    await using _ = await deliveries.work();
    const seq = await signOutOthers(laptop);
    await deliveries.delivered(`webhook:${hook.id}`);
    await deliveries.delivered(`logout:${phone.viewer.sessionId}`);
    const { to } = await changesSeenBy(laptop);
    await undo(laptop, seq);
    await deliveries.delivered(`webhook:${hook.id}`, 2);
    const sessions = [{ sid: phone.viewer.sessionId }];
    expect(events(receiver)).toEqual([
      { type: "session.ended", data: { seq: Number(seq), reason: "SIGNED_OUT_REMOTELY", sessions } },
      { type: "session.restored", data: { seq: Number(seq) + 1, reason: "SIGNED_OUT_REMOTELY", sessions } },
    ]);
    expect(receiver.received.filter(({ path }) => path === "/out")).toHaveLength(1);
    expect(await changesSeenBy(laptop, to)).toMatchObject({
      devices: [{ id: phone.viewer.deviceId, isSignedIn: true, signOut: null }],
    });
  });

  it("before its application was told is not told any more, and leaves no dead letter", async () => {
    await using receiver = await startReceiver();
    const app = await deliveries.application(`${receiver.url}/out`);
    const person = deliveries.system.person();
    const laptop = await person.signIn({ applicationId: app, jkt: newKey() });
    const phone = await person.signIn({ applicationId: app, jkt: newKey() });
    await undo(laptop, await signOutOthers(laptop));
    await using _ = await deliveries.work();
    const { sessionId } = await deliveries.signInAndOut(app);
    await deliveries.delivered(`logout:${sessionId}`);
    await expect.poll(() => deliveries.deliveryTo(`logout:${phone.viewer.sessionId}`), { timeout: 30_000 }).toEqual([]);
    const tokens = await Promise.all(receiver.received.map((each) => deliveries.verifyLogout(each, app)));
    expect(tokens.map(({ sid }) => sid)).toEqual([sessionId]);
    expect(await operate(deliveries.system, "outbox", "list")).toMatchObject({ code: 0, value: [] });
  });
});

describe("an application is told", () => {
  it("of each session that ended at once, in a token of its own; a webhook of all of them together", async () => {
    await using receiver = await startReceiver();
    const app = await deliveries.application(`${receiver.url}/out`);
    const hook = await deliveries.addWebhook(app, `${receiver.url}/hook`);
    const person = deliveries.system.person();
    const sessions = [];
    for (let count = 0; count < 4; count += 1) sessions.push(await person.signIn({ applicationId: app }));
    await person.signIn();
    await sessions[0]?.data("mutation { signOutEverywhere { receipt { seq } } }");
    await using _ = await deliveries.work();
    for (const { viewer } of sessions) await deliveries.delivered(`logout:${viewer.sessionId}`);
    await deliveries.delivered(`webhook:${hook.id}`);
    const ended = sessions.map(({ viewer }) => viewer.sessionId).toSorted();
    const out = receiver.received.filter(({ path }) => path === "/out");
    const tokens = await Promise.all(out.map((each) => deliveries.verifyLogout(each, app)));
    expect(tokens.map(({ sid }) => sid).toSorted()).toEqual(ended);
    expect(new Set(tokens.map(({ jti }) => jti)).size).toBe(4);
    const [event, ...more] = events(receiver);
    expect(more).toEqual([]);
    expect(event?.data.sessions.map(({ sid }) => sid).toSorted()).toEqual(ended);
  });

  it("of a session whose time was over", async () => {
    await using receiver = await startReceiver();
    const app = await deliveries.application(`${receiver.url}/out`);
    const hook = await deliveries.addWebhook(app, `${receiver.url}/hook`);
    const session = await deliveries.system.person().signIn({ applicationId: app });
    await deliveries.system.admin.query("UPDATE session.sessions SET idle_deadline = $2 WHERE id = $1", [
      session.viewer.sessionId,
      deliveries.system.clock.now,
    ]);
    await using _ = await deliveries.work(undefined, EVERYTHING);
    await deliveries.delivered(`logout:${session.viewer.sessionId}`);
    await deliveries.delivered(`webhook:${hook.id}`);
    const [token] = receiver.received.filter(({ path }) => path === "/out");
    expect(token && (await deliveries.verifyLogout(token, app)).sid).toBe(session.viewer.sessionId);
    expect(events(receiver)).toMatchObject([{ type: "session.ended", data: { reason: "IDLE" } }]);
  });
});

it("an attempt that comes late changes nothing of what was noted after it", async () => {
  await using receiver = await startReceiver();
  const app = await deliveries.application();
  const hook = await deliveries.addWebhook(app, `${receiver.url}/hook`);
  const { sessionId } = await deliveries.signInAndOut(app);
  const { rows } = await deliveries.pool.query<{ seq: string }>(
    "SELECT seq FROM session.revocations WHERE $1 = ANY (session_ids)",
    [sessionId],
  );
  const first = { seq: Number(rows[0]?.seq), recipient: `webhook:${hook.id}`, attempts: 0 };
  const { now } = deliveries.system.clock;
  await createRevocationJobsStore(deliveries.pool).deliver([first.seq], now);
  const store = createDeliveryStore(deliveries.pool);
  expect(await store.pending(first)).toMatchObject(first);
  await store.retryIn(first, 60_000, "HTTP_500");
  const { rows: posted } = await deliveries.pool.query(
    `SELECT o.due_at = d.due_at AS "isDueThen" FROM session.outbox AS o JOIN session.revocation_deliveries AS d
         ON o.payload = jsonb_build_object('seq', d.seq, 'recipient', d.recipient, 'attempts', d.attempts)
      WHERE d.recipient = $1`,
    [first.recipient],
  );
  expect(posted).toEqual([{ isDueThen: true }]);
  expect(await store.pending(first)).toBeUndefined();
  await store.delivered(first, now);
  await store.failed(first, "HTTP_404", now);
  await store.drop(first);
  expect(await deliveries.deliveryTo(first.recipient)).toEqual([
    { attempts: 1, error: "HTTP_500", delivered: false, failed: false },
  ]);
  // Postponing because the address is busy does not count as an attempt.
  await store.postpone({ ...first, attempts: 1 }, 1_000);
  expect(await store.pending({ ...first, attempts: 1 })).toMatchObject({ attempts: 1 });
});

describe("a webhook", () => {
  it("that was disabled when it was about to be told is told nothing", async () => {
    await using receiver = await startReceiver();
    const app = await deliveries.application();
    const hook = await deliveries.addWebhook(app, `${receiver.url}/hook`);
    const disabled = await deliveries.addWebhook(app, `${receiver.url}/disabled`);
    const posted = (): Promise<unknown[]> => deliveries.deliveryTo(`webhook:${disabled.id}`);
    {
      await using _ = await deliveries.work(undefined, "fan-out-revocation");
      await deliveries.signInAndOut(app);
      await expect.poll(posted).toHaveLength(1);
    }
    await deliveries.system.admin.query("UPDATE session.webhooks SET disabled_at = now() WHERE id = $1", [disabled.id]);
    await using _ = await deliveries.work();
    await deliveries.delivered(`webhook:${hook.id}`);
    await expect.poll(posted).toEqual([]);
    expect(receiver.received.map(({ path }) => path)).toEqual(["/hook"]);
  });
});

describe("a person's other devices are told why", () => {
  it("when a token was stolen", async () => {
    const person = deliveries.system.person();
    const [phone, laptop] = [await person.signIn(), await person.signIn()];
    const { to } = await changesSeenBy(laptop);
    const second = await phone.refresh();
    await phone.refresh(second.refreshToken);
    deliveries.system.clock.advance(11_000);
    expect(faultOf(await phone.tryRefresh())).toBe("UNAUTHENTICATED REFRESH_TOKEN_REUSED");
    expect(await changesSeenBy(laptop, to)).toMatchObject({
      devices: [{ id: phone.viewer.deviceId, isSignedIn: false, signOut: { reason: "REFRESH_TOKEN_REUSED" } }],
    });
  });

  it("when an operator ended a session", async () => {
    const person = deliveries.system.person();
    const [phone, laptop] = [await person.signIn(), await person.signIn()];
    const { to } = await changesSeenBy(laptop);
    expect(
      await operate(deliveries.system, "sessions", "revoke", "--session", phone.viewer.sessionId, "--yes"),
    ).toMatchObject({ code: 0 });
    expect(await changesSeenBy(laptop, to)).toMatchObject({
      devices: [{ id: phone.viewer.deviceId, isSignedIn: false, signOut: { reason: "ADMINISTRATOR" } }],
    });
  });
});
