import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { hold, lockWaiters } from "../lock.fixture.ts";
import { faultOf, type Person, type SignedIn } from "../person.fixture.ts";
import { newApplication } from "../population.fixture.ts";
import { startSystem, type System } from "../system.fixture.ts";

const MINUTE_MS = 60_000;

let system: System;
beforeAll(async () => {
  system = await startSystem();
  await system.addWebhook();
});
afterAll(async () => system[Symbol.asyncDispose]());

let keys = 0;
/** Somebody signed in on a laptop, which acts, and on a phone with a key. */
async function signedIn(): Promise<{ person: Person; laptop: SignedIn; phone: SignedIn; jkt: string }> {
  const person = system.person();
  const jkt = `undo-key-${(keys += 1)}`;
  const [laptop, phone] = [
    await person.signIn({ jkt: `${jkt}-laptop` }),
    await person.signIn({ jkt, platform: "PHONE" }),
  ];
  return { person, laptop, phone, jkt };
}

const Receipt = z.object({ receipt: z.object({ seq: z.string(), sessionsEnded: z.number() }) });
async function signOutOthers(laptop: SignedIn): Promise<string> {
  const data = await laptop.data("mutation { signOutOtherDevices { receipt { seq sessionsEnded } } }");
  return Receipt.parse(data["signOutOtherDevices"]).receipt.seq;
}
const UNDO = `mutation ($seq: String!) { undoSignOut(seq: $seq) {
  receipt { seq sessionsEnded } devices { id isSignedIn signOut { reason } } notRestored { session { id } reason } } }`;
const Undone = z.object({
  receipt: z.object({ seq: z.string(), sessionsEnded: z.number() }).nullable(),
  devices: z.array(z.object({ id: z.string(), isSignedIn: z.boolean(), signOut: z.unknown() })),
  notRestored: z.array(z.object({ session: z.object({ id: z.string() }), reason: z.string() })),
});
async function undo(laptop: SignedIn, seq: string): Promise<z.infer<typeof Undone>> {
  return Undone.parse((await laptop.data(UNDO, { seq }))["undoSignOut"]);
}
const reasons = ({ notRestored }: z.infer<typeof Undone>): unknown => notRestored.map(({ reason }) => reason);

describe("a sign-out of other devices", () => {
  it("can be taken back: until then it holds, afterwards the device goes on with its tokens", async () => {
    const { person, laptop, phone, jkt } = await signedIn();
    const seq = await signOutOthers(laptop);
    expect(faultOf(await phone.tryRefresh(phone.tokens.refreshToken, jkt))).toBe("UNAUTHENTICATED SESSION_ENDED");
    // In another application, which does not affect this one.
    await person.signIn({ jkt, applicationId: "bank" });
    const undone = await undo(laptop, seq);
    expect(undone).toMatchObject({
      receipt: { sessionsEnded: 1 },
      devices: [{ id: phone.viewer.deviceId, isSignedIn: true, signOut: null }],
      notRestored: [],
    });
    expect(faultOf(await phone.tryRefresh(phone.tokens.refreshToken, jkt))).toBeUndefined();
    await phone.data("{ viewer { session { id } } }");
  });

  it("taken back is told to the gateways after it, in the same log", async () => {
    const { laptop, phone } = await signedIn();
    const seq = await signOutOthers(laptop);
    const undone = await undo(laptop, seq);
    const { body } = await system.internal("/internal/revocations", {
      replica: "r",
      after: Number(seq) - 1,
      acks: [],
    });
    expect(body).toMatchObject({
      revocations: [
        { seq: Number(seq), effect: "ENDED", sessionIds: [phone.viewer.sessionId] },
        { seq: Number(undone.receipt?.seq), effect: "RESTORED", sessionIds: [phone.viewer.sessionId] },
      ],
    });
  });

  it("taken back leaves a security event and a job, like the sign-out", async () => {
    const { person, laptop, phone } = await signedIn();
    const undone = await undo(laptop, await signOutOthers(laptop));
    const events = await system.admin.query(
      "SELECT type, session_id FROM session.auth_events WHERE user_id = $1 AND session_id = $2 ORDER BY seq",
      [person.userId, phone.viewer.sessionId],
    );
    expect(events.rows.map(({ type }: { type: string }) => type)).toEqual([
      "DEVICE_KEY_BOUND",
      "SESSION_STARTED",
      "SESSION_ENDED",
      "SESSIONS_RESTORED",
    ]);
    const jobs = await system.admin.query("SELECT FROM session.outbox WHERE payload = $1", [
      { seqs: [Number(undone.receipt?.seq)] },
    ]);
    expect(jobs.rowCount).toBe(1);
  });

  it("can be taken back once, also when eight try at the same moment", async () => {
    const { laptop } = await signedIn();
    const seq = await signOutOthers(laptop);
    const answers = await Promise.all(Array.from({ length: 8 }, () => laptop.graphql(UNDO, { seq })));
    expect(answers.map(faultOf).filter((fault) => fault === undefined)).toHaveLength(1);
    expect(new Set(answers.map(faultOf))).toEqual(new Set([undefined, "CONFLICT ALREADY_UNDONE"]));
  });

  it("cannot be taken back after ten minutes", async () => {
    const { laptop } = await signedIn();
    const seq = await signOutOthers(laptop);
    system.clock.advance(10 * MINUTE_MS + 1);
    expect(faultOf(await laptop.graphql(UNDO, { seq }))).toBe("STEP_UP_REQUIRED AUTHENTICATION_TOO_OLD");
    await system.admin.query("UPDATE session.sessions SET auth_time = $2 WHERE id = $1", [
      laptop.viewer.sessionId,
      system.clock.now,
    ]);
    expect(faultOf(await laptop.graphql(UNDO, { seq }))).toBe("CONFLICT UNDO_WINDOW_PASSED");
  });

  it("is not somebody else's to take back, and no other kind of end is", async () => {
    const { laptop, phone } = await signedIn();
    const stranger = await system.person().signIn();
    const seq = await signOutOthers(laptop);
    expect(faultOf(await stranger.graphql(UNDO, { seq }))).toBe("NOT_FOUND RECEIPT_NOT_FOUND");
    await undo(laptop, seq);
    const own = await phone.data("mutation { signOut { receipt { seq sessionsEnded } } }");
    const ownSeq = Receipt.parse(own["signOut"]).receipt.seq;
    expect(faultOf(await laptop.graphql(UNDO, { seq: ownSeq }))).toBe("NOT_FOUND RECEIPT_NOT_FOUND");
    expect(faultOf(await laptop.graphql(UNDO, { seq: "0" }))).toBe("NOT_FOUND RECEIPT_NOT_FOUND");
  });

  it("cannot be taken back by a sign-in that came after it, be it the password's thief; nor signing out everywhere", async () => {
    const { person, laptop, phone, jkt } = await signedIn();
    const seq = await signOutOthers(laptop);
    system.clock.advance(1);
    const later = await person.signIn({ jkt: `${jkt}-later` });
    expect(faultOf(await later.graphql(UNDO, { seq }))).toBe("NOT_FOUND RECEIPT_NOT_FOUND");
    expect(faultOf(await phone.tryRefresh(phone.tokens.refreshToken, jkt))).toBe("UNAUTHENTICATED SESSION_ENDED");

    const everywhere = await laptop.data("mutation { signOutEverywhere { receipt { seq sessionsEnded } } }");
    system.clock.advance(1);
    const back = await person.signIn({ jkt: `${jkt}-laptop` });
    const { seq: everywhereSeq } = Receipt.parse(everywhere["signOutEverywhere"]).receipt;
    expect(faultOf(await back.graphql(UNDO, { seq: everywhereSeq }))).toBe("NOT_FOUND RECEIPT_NOT_FOUND");
  });

  it("cannot be taken back by who was signed out while they tried", async () => {
    const { laptop, phone, jkt } = await signedIn();
    const seq = await signOutOthers(laptop);
    // Holds the head of the log, so that the sign-out stops with all its locks taken but one.
    const logHead = await hold(system.admin, "SELECT FROM session.revocation_head FOR UPDATE");
    await using _ = logHead;
    const signOut = laptop.data("mutation { signOut { receipt { seq } } }");
    await lockWaiters(system.admin, 1);
    const undoing = laptop.graphql(UNDO, { seq });
    await lockWaiters(system.admin, 2);
    await logHead[Symbol.asyncDispose]();
    await signOut;
    expect(faultOf(await undoing)).toBe("NOT_FOUND RECEIPT_NOT_FOUND");
    expect(faultOf(await phone.tryRefresh(phone.tokens.refreshToken, jkt))).toBe("UNAUTHENTICATED SESSION_ENDED");
  });

  it("does not bring back who is bound to no key, or to one that is not the device's any more, whose time is over, or who has signed in again", async () => {
    const { person, laptop, jkt } = await signedIn();
    const bearer = await person.signIn({ platform: "TV" });
    const expired = await person.signIn({ jkt: `${jkt}-old` });
    const rebound = await person.signIn({ jkt: `${jkt}-former` });
    const seq = await signOutOthers(laptop);
    await system.admin.query("UPDATE session.sessions SET idle_deadline = $2 WHERE id = $1", [
      expired.viewer.sessionId,
      system.clock.now,
    ]);
    await system.admin.query("UPDATE session.devices SET jkt = NULL WHERE id = $1", [rebound.viewer.deviceId]);
    const again = await person.signIn({ jkt });
    const undone = await undo(laptop, seq);
    expect(undone.receipt).toBeNull();
    expect(reasons(undone)).toEqual(["SIGNED_IN_AGAIN", "NO_KEY", "EXPIRED", "NO_KEY"]);
    expect(faultOf(await bearer.tryRefresh())).toBe("UNAUTHENTICATED SESSION_ENDED");
    await again.data("{ viewer { session { id } } }");
  });

  it("brings back a session of an application that authenticates, whichever key it showed", async () => {
    const { person, laptop, jkt } = await signedIn();
    const applicationId = await newApplication(system.admin, { idleSeconds: 3_600, absoluteSeconds: 3_600 });
    const { viewer } = await person.signIn({ jkt: `${jkt}-server`, applicationId });
    await system.admin.query("UPDATE session.applications SET secret_hash = 'x' WHERE id = $1", [applicationId]);
    await system.admin.query("UPDATE session.devices SET jkt = NULL WHERE id = $1", [viewer.deviceId]);
    const undone = await undo(laptop, await signOutOthers(laptop));
    expect(undone).toMatchObject({ receipt: { sessionsEnded: 2 }, notRestored: [] });
  });

  it("respects a limit that was reached meanwhile", async () => {
    const { person, laptop, jkt } = await signedIn();
    await system.admin.query("UPDATE session.policies SET max_sessions = 3 WHERE application_id = 'continuo'");
    try {
      const tablet = await person.signIn({ jkt: `${jkt}-tablet`, platform: "TABLET" });
      const seq = await signOutOthers(laptop);
      await person.signIn({ jkt: `${jkt}-new` });
      const undone = await undo(laptop, seq);
      expect(undone).toMatchObject({ receipt: { sessionsEnded: 1 }, devices: [expect.anything()] });
      expect(reasons(undone)).toEqual(["SESSION_LIMIT_REACHED"]);
      expect(tablet.viewer.deviceId).toBe(undone.devices[0]?.id);
    } finally {
      await system.admin.query("UPDATE session.policies SET max_sessions = 50 WHERE application_id = 'continuo'");
    }
  });

  it("taken back revives no refresh token that was dead before it", async () => {
    const { person, laptop, phone, jkt } = await signedIn();
    const former = phone.tokens.refreshToken;
    const grant = await system.grant({ sub: person.userId });
    await phone.tryStepUp(grant, former, jkt);
    await undo(laptop, await signOutOthers(laptop));
    expect(faultOf(await phone.tryRefresh(former, jkt))).toBe("UNAUTHENTICATED TOKEN_REPLACED");
  });
});
