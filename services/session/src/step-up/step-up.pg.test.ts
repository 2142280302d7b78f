import { AccessTokenClaims } from "@continuo/access";
import { decodeJwt } from "jose";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { hold, lockWaiters } from "../lock.fixture.ts";
import { faultOf, tokensIn, type Person, type SignedIn } from "../person.fixture.ts";
import { startSystem, type System } from "../system.fixture.ts";

const Feed = z.object({ head: z.number(), revocations: z.array(z.unknown()) });

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

let system: System;
beforeAll(async () => {
  system = await startSystem();
});
afterAll(async () => system[Symbol.asyncDispose]());

const seconds = (): number => Math.floor(system.clock.now.getTime() / 1_000);
const grantFor = (person: Person, claims: { acr?: string; amr?: string[] } = {}): Promise<string> =>
  system.grant({ sub: person.userId, acr: "aal2", amr: ["pwd", "otp"], ...claims });
async function sessionRow({ viewer }: SignedIn): Promise<Record<string, unknown> | undefined> {
  const sql = `SELECT acr, amr, auth_time, last_active_at, idle_deadline, absolute_deadline, state FROM session.sessions WHERE id = $1`;
  return (await system.admin.query<Record<string, unknown>>(sql, [viewer.sessionId])).rows[0];
}

describe("authenticating again within a session", () => {
  it("keeps the session, and moves what a refresh never moves: acr, amr, time and both deadlines", async () => {
    const person = system.person();
    const phone = await person.signIn();
    system.clock.advance(HOUR_MS);
    const refreshed = await phone.refresh();
    expect(decodeJwt(refreshed.accessToken)).toMatchObject({
      acr: "aal1",
      auth_time: seconds() - 3_600,
      step_up: 300,
    });
    const stepped = tokensIn(await phone.tryStepUp(await grantFor(person), refreshed.refreshToken), "stepUp");
    expect(decodeJwt(stepped.accessToken)).toMatchObject({
      sid: phone.viewer.sessionId,
      acr: "aal2",
      amr: ["pwd", "otp"],
      auth_time: seconds(),
      step_up: 300,
    });
    const now = system.clock.now.getTime();
    expect(await sessionRow(phone)).toMatchObject({
      acr: "aal2",
      auth_time: new Date(seconds() * 1_000),
      state: "ACTIVE",
      last_active_at: system.clock.now,
      idle_deadline: new Date(now + 14 * DAY_MS),
      absolute_deadline: new Date(now + 30 * DAY_MS),
    });
    const { deviceChanges } = await phone.data(`{ deviceChanges(since: "1") { devices { id lastSeenAt } } }`);
    expect(deviceChanges).toEqual({
      devices: [{ id: phone.viewer.deviceId, lastSeenAt: system.clock.now.toISOString() }],
    });
    expect(faultOf(await phone.tryRefresh(stepped.refreshToken))).toBeUndefined();
  });

  it("leaves the former refresh token dead, which is no theft", async () => {
    const person = system.person();
    const phone = await person.signIn();
    const stepped = tokensIn(await phone.tryStepUp(await grantFor(person)), "stepUp");
    expect(faultOf(await phone.tryRefresh())).toBe("UNAUTHENTICATED TOKEN_REPLACED");
    expect(await sessionRow(phone)).toMatchObject({ state: "ACTIVE" });
    expect(faultOf(await phone.tryRefresh(stepped.refreshToken))).toBeUndefined();
  });

  it("tells gateways that the access tokens of before are over, and ends nothing else", async () => {
    const feed = async (after: number | null): Promise<z.infer<typeof Feed>> =>
      Feed.parse((await system.internal("/internal/revocations", { replica: "step-up", after, acks: [] })).body);
    const person = system.person();
    const phone = await person.signIn();
    const { head } = await feed(null);
    const former = AccessTokenClaims.parse(decodeJwt(phone.tokens.accessToken)).gid;
    const stepped = tokensIn(await phone.tryStepUp(await grantFor(person)), "stepUp");
    expect((await feed(head)).revocations).toEqual([
      {
        seq: head + 1,
        effect: "ENDED",
        sessionIds: [],
        grantIds: [former],
        reason: "STEPPED_UP",
        at: expect.any(String),
      },
    ]);
    expect(AccessTokenClaims.parse(decodeJwt(stepped.accessToken)).gid).not.toBe(former);
  });

  it("binds a session to the key that is proven, and its device unless that has a key or another device has this one", async () => {
    const person = system.person();
    const [phone, laptop] = [await person.signIn(), await person.signIn({ jkt: "of-the-laptop" })];
    const tablet = await person.signIn();
    const { deviceId } = await person
      .signIn({
        applicationId: "bank",
        jkt: "of-the-tablet",
        deviceId: tablet.viewer.deviceId,
      })
      .then(({ viewer }) => viewer);
    await tablet.tryStepUp(await grantFor(person), tablet.tokens.refreshToken, "another");
    const stepped = tokensIn(
      await phone.tryStepUp(await grantFor(person), phone.tokens.refreshToken, "of-the-laptop"),
      "stepUp",
    );
    expect(decodeJwt(stepped.accessToken)["cnf"]).toEqual({ jkt: "of-the-laptop" });
    const { rows } = await system.admin.query(
      "SELECT id, jkt FROM session.devices WHERE user_id = $1 AND jkt IS NOT NULL ORDER BY jkt",
      [person.userId],
    );
    expect(rows).toEqual([
      { id: laptop.viewer.deviceId, jkt: "of-the-laptop" },
      { id: deviceId, jkt: "of-the-tablet" },
    ]);
  });

  it("leaves one security event", async () => {
    const person = system.person();
    const phone = await person.signIn();
    await phone.tryStepUp(await grantFor(person));
    const { rows } = await system.admin.query(
      "SELECT type, session_id, detail FROM session.auth_events WHERE user_id = $1 AND type = 'STEPPED_UP'",
      [person.userId],
    );
    expect(rows).toEqual([
      { type: "STEPPED_UP", session_id: phone.viewer.sessionId, detail: { acr: "aal2", amr: ["pwd", "otp"] } },
    ]);
  });

  it("takes a grant once: eight who try at the same moment get one answer", async () => {
    const person = system.person();
    const phone = await person.signIn();
    const grant = await grantFor(person);
    const answers = await Promise.all(Array.from({ length: 8 }, () => phone.tryStepUp(grant)));
    expect(new Set(answers.map((answer) => tokensIn(answer, "stepUp").refreshToken)).size).toBe(1);
    const { rows } = await system.admin.query("SELECT FROM session.grants WHERE session_id = $1", [
      phone.viewer.sessionId,
    ]);
    expect(rows).toHaveLength(2);
  });

  it("gives no answer again that is known to have arrived", async () => {
    const person = system.person();
    const phone = await person.signIn();
    const grant = await grantFor(person);
    const { accessToken } = tokensIn(await phone.tryStepUp(grant), "stepUp");
    const { gid: grantId, gen: generation, sid: sessionId } = AccessTokenClaims.parse(decodeJwt(accessToken));
    const seen = [{ sessionId, grantId, generation, at: system.clock.now.getTime() }];
    expect(await system.internal("/internal/activity", { seen })).toMatchObject({ status: 204 });
    expect(faultOf(await phone.tryStepUp(grant))).toBe("UNAUTHENTICATED TOKEN_REPLACED");
  });

  it("signs nobody out whose answer was lost: asked the same again, it gives the same, until that is in use", async () => {
    const person = system.person();
    const [phone, laptop] = [await person.signIn({ jkt: "key" }), await person.signIn()];
    const grant = await grantFor(person);
    const former = phone.tokens.refreshToken;
    const lost = tokensIn(await phone.tryStepUp(grant, former, "key"), "stepUp");
    system.clock.advance(50_000);
    const found = tokensIn(await phone.tryStepUp(grant, former, "key"), "stepUp");
    expect(found.refreshToken).toBe(lost.refreshToken);
    expect(decodeJwt(found.accessToken)).toMatchObject({ sid: phone.viewer.sessionId, acr: "aal2" });

    // Neither without the key, nor for another session, nor another grant, nor once it has arrived.
    expect(faultOf(await phone.tryStepUp(grant, former))).toBe("UNAUTHENTICATED DPOP_REQUIRED");
    expect(faultOf(await laptop.tryStepUp(grant, laptop.tokens.refreshToken, "key"))).toBe(
      "UNAUTHENTICATED GRANT_USED",
    );
    expect(faultOf(await phone.tryStepUp(await grantFor(person), former, "key"))).toBe(
      "UNAUTHENTICATED TOKEN_REPLACED",
    );
    expect(faultOf(await phone.tryRefresh(found.refreshToken, "key"))).toBeUndefined();
    expect(faultOf(await phone.tryStepUp(grant, former, "key"))).toBe("UNAUTHENTICATED TOKEN_REPLACED");
  });

  it("goes on from where a refresh has taken the session meanwhile", async () => {
    const person = system.person();
    const phone = await person.signIn();
    const head = await hold(system.admin, "SELECT FROM session.user_heads WHERE user_id = $1 FOR UPDATE", [
      person.userId,
    ]);
    await using _ = head;
    const stepping = phone.tryStepUp(await grantFor(person));
    await lockWaiters(system.admin, 1);
    const refreshed = await phone.refresh();
    await head[Symbol.asyncDispose]();
    const stepped = tokensIn(await stepping, "stepUp");
    expect(faultOf(await phone.tryRefresh(refreshed.refreshToken))).toBe("UNAUTHENTICATED TOKEN_REPLACED");
    expect(faultOf(await phone.tryRefresh(stepped.refreshToken))).toBeUndefined();
  });

  it("takes nobody else's grant, and does not use it up", async () => {
    const [person, stranger] = [system.person(), system.person()];
    const phone = await person.signIn();
    const grant = await grantFor(stranger);
    expect(faultOf(await phone.tryStepUp(grant))).toBe("UNAUTHENTICATED GRANT_FOR_ANOTHER");
    expect(faultOf(await stranger.startSession({ grant }))).toBeUndefined();
  });

  it("needs the key that the session is bound to", async () => {
    const person = system.person();
    const phone = await person.signIn({ jkt: "step-up-key" });
    const grant = await grantFor(person);
    expect(faultOf(await phone.tryStepUp(grant))).toBe("UNAUTHENTICATED DPOP_REQUIRED");
    const stepped = tokensIn(await phone.tryStepUp(grant, phone.tokens.refreshToken, "step-up-key"), "stepUp");
    expect(decodeJwt(stepped.accessToken)["cnf"]).toEqual({ jkt: "step-up-key" });
  });

  it("gives a session that was approved in another one no longer life than that one has", async () => {
    const person = system.person();
    const parent = await person.signIn();
    const approved = await system.grant({ sub: person.userId, parent: parent.viewer.sessionId });
    const tv = await person.signIn({ grant: approved, platform: "TV" });
    system.clock.advance(HOUR_MS);
    await tv.tryStepUp(await grantFor(person));
    const [child, root] = [await sessionRow(tv), await sessionRow(parent)];
    expect(child).toMatchObject({ acr: "aal2", absolute_deadline: root?.["absolute_deadline"] });
  });

  it("does not bring a session back that has ended", async () => {
    const person = system.person();
    const phone = await person.signIn();
    system.clock.advance(15 * DAY_MS);
    expect(faultOf(await phone.tryStepUp(await grantFor(person)))).toBe("UNAUTHENTICATED SESSION_ENDED");
  });
});

describe("a session too weak for its application", () => {
  it("is told which sign-in would do, goes on with it, and has not ended meanwhile", async () => {
    const person = system.person();
    const phone = await person.signIn();
    await system.admin.query("UPDATE session.policies SET required_acr = 'aal2' WHERE application_id = 'continuo'");
    try {
      const answer = await phone.tryRefresh();
      expect(faultOf(answer)).toBe("STEP_UP_REQUIRED ACR_TOO_LOW");
      expect(answer.errors?.[0]?.extensions.details).toEqual({ acrValues: ["aal2"] });
      system.clock.advance(301_000);
      const late = await phone.graphql("mutation { signOutOtherDevices { receipt { seq } } }");
      expect(late.errors?.[0]?.extensions).toMatchObject({
        reason: "AUTHENTICATION_TOO_OLD",
        details: { maxAge: 300, acrValues: ["aal2"] },
      });
      const weak = await grantFor(person, { acr: "aal1", amr: ["pwd"] });
      expect(faultOf(await phone.tryStepUp(weak))).toBe("STEP_UP_REQUIRED ACR_TOO_LOW");
      const stepped = tokensIn(await phone.tryStepUp(await grantFor(person)), "stepUp");
      expect(faultOf(await phone.tryRefresh(stepped.refreshToken))).toBeUndefined();
    } finally {
      await system.admin.query("UPDATE session.policies SET required_acr = NULL WHERE application_id = 'continuo'");
    }
  });
});
