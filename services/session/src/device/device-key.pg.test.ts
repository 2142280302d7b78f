import { createHash } from "node:crypto";
import { decodeJwt } from "jose";
import { v4 as newDeviceId } from "uuid";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { dataOf, faultOf, tokensIn, type SignedIn } from "../person.fixture.ts";
import { startSystem, type System } from "../system.fixture.ts";

let system: System;
beforeAll(async () => {
  system = await startSystem();
});
afterAll(async () => system[Symbol.asyncDispose]());

let keys = 0;
const newKey = (): string => `thumbprint-${(keys += 1)}`;
const idOf = ({ viewer }: SignedIn): string => viewer.deviceId;
async function devicesOf(userId: string): Promise<{ id: string; jkt: string | null }[]> {
  const sql = "SELECT id, jkt FROM session.devices WHERE user_id = $1 ORDER BY first_seen_at";
  return (await system.admin.query<{ id: string; jkt: string | null }>(sql, [userId])).rows;
}
async function generationOf({ viewer }: SignedIn): Promise<unknown> {
  const sql = "SELECT generation FROM session.grants WHERE session_id = $1";
  return (await system.admin.query<{ generation: number }>(sql, [viewer.sessionId])).rows[0]?.generation;
}

describe("a device with a key", () => {
  it("is one row for the life of the key, whatever id a client gives", async () => {
    const person = system.person();
    const jkt = newKey();
    const first = await person.signIn({ jkt });
    const again = await person.signIn({ jkt, name: "Another browser" });
    const mistaken = await person.signIn({ jkt, deviceId: newDeviceId() });
    const keyless = await person.signIn();
    const confused = await person.signIn({ jkt, deviceId: idOf(keyless) });
    expect([again, mistaken, confused].map(idOf)).toEqual([idOf(first), idOf(first), idOf(first)]);
    expect(await devicesOf(person.userId)).toEqual([
      { id: idOf(first), jkt },
      { id: idOf(keyless), jkt: null },
    ]);
    const bound = "SELECT detail FROM session.auth_events WHERE user_id = $1 AND type = 'DEVICE_KEY_BOUND'";
    expect((await system.admin.query(bound, [person.userId])).rows).toEqual([{ detail: { jkt } }]);
  });

  it("is one row also when 50 sign-ins bring the new key at once", async () => {
    const person = system.person();
    const jkt = newKey();
    const signedIn = await Promise.all(Array.from({ length: 50 }, () => person.signIn({ jkt })));
    expect(new Set(signedIn.map(idOf)).size).toBe(1);
    expect(await devicesOf(person.userId)).toHaveLength(1);
  });

  it("may have been without one: its row takes the key on, once", async () => {
    const person = system.person();
    const before = await person.signIn();
    const jkt = newKey();
    const after = await person.signIn({ jkt, deviceId: idOf(before) });
    expect(idOf(after)).toBe(idOf(before));
    const other = await person.signIn({ jkt: newKey(), deviceId: idOf(before) });
    expect(idOf(other)).not.toBe(idOf(before));
    const { rows } = await system.admin.query(
      "SELECT detail FROM session.auth_events WHERE user_id = $1 AND device_id = $2 AND type = 'DEVICE_KEY_BOUND'",
      [person.userId, idOf(before)],
    );
    expect(rows).toEqual([{ detail: { jkt } }]);
  });

  it("is not found by its id alone", async () => {
    const person = system.person();
    const bound = await person.signIn({ jkt: newKey() });
    const claimed = await person.signIn({ deviceId: idOf(bound) });
    expect(idOf(claimed)).not.toBe(idOf(bound));
  });

  it("of one person is another device for another person", async () => {
    const jkt = newKey();
    const [ada, alan] = await Promise.all([system.person().signIn({ jkt }), system.person().signIn({ jkt })]);
    expect(idOf(ada)).not.toBe(idOf(alan));
  });

  it("gets tokens that name the key, and keep naming it", async () => {
    const jkt = newKey();
    const phone = await system.person().signIn({ jkt });
    expect(phone.tokens.tokenType).toBe("DPoP");
    expect(decodeJwt(phone.tokens.accessToken)["cnf"]).toEqual({ jkt });
    const refreshed = tokensIn(await phone.tryRefresh(phone.tokens.refreshToken, jkt));
    expect(refreshed.tokenType).toBe("DPoP");
    expect(decodeJwt(refreshed.accessToken)["cnf"]).toEqual({ jkt });
  });

  it.each([
    ["without a proof", undefined, "UNAUTHENTICATED DPOP_REQUIRED"],
    ["with a proof by another key", "somebody-else", "UNAUTHENTICATED DPOP_KEY_MISMATCH"],
  ])("loses nothing when its refresh token comes back %s, however often", async (_case, thief, refusal) => {
    const jkt = newKey();
    const phone = await system.person().signIn({ jkt });
    const first = phone.tokens.refreshToken;
    const second = tokensIn(await phone.tryRefresh(first, jkt)).refreshToken;
    const third = tokensIn(await phone.tryRefresh(second, jkt)).refreshToken;
    for (const stolen of [third, second, first]) {
      expect(faultOf(await phone.tryRefresh(stolen, thief))).toBe(refusal);
    }
    expect(await generationOf(phone)).toBe(3);
    expect(faultOf(await phone.tryRefresh(third, jkt))).toBeUndefined();
  });

  it("cannot be left out where the policy asks for one", async () => {
    await system.admin.query("UPDATE session.policies SET device_binding = 'DPOP' WHERE application_id = 'bank'");
    const person = system.person();
    expect(faultOf(await person.startSession({ applicationId: "bank" }))).toBe("UNAUTHENTICATED DPOP_REQUIRED");
    expect(faultOf(await person.startSession({ applicationId: "bank", jkt: newKey() }))).toBeUndefined();
  });

  it("does not bind a session that began without a key: its tokens were never promised to need one", async () => {
    const phone = await system.person().signIn();
    expect(phone.tokens.tokenType).toBe("Bearer");
    for (const time of ["first", "for a lost reply"]) {
      const { tokenType, accessToken } = tokensIn(await phone.tryRefresh(phone.tokens.refreshToken, newKey()));
      expect([time, tokenType, decodeJwt(accessToken)["cnf"]]).toEqual([time, "Bearer", undefined]);
    }
  });
});

describe("the session of a client that authenticates", () => {
  const secret = "cnt_cs_back_end";
  const Answered = z.object({ answerOAuth: z.object({ body: z.string() }) });
  const Body = z.object({ access_token: z.string(), token_type: z.string(), refresh_token: z.string() });
  beforeAll(async () => {
    await system.admin.query(
      "INSERT INTO session.applications (id, name, created_at, secret_hash) VALUES ('back-end', 'Back end', now(), $1)",
      [createHash("sha256").update(secret).digest()],
    );
    await system.admin.query(
      `INSERT INTO session.policies
       SELECT (jsonb_populate_record(p, '{"application_id": "back-end", "device_binding": "DPOP"}')).*
         FROM session.policies AS p WHERE application_id = 'continuo'`,
    );
  });

  /** What the token endpoint answers the client. */
  async function ask(form: Record<string, string>, jkt?: string): Promise<unknown> {
    const credentials = { client_id: "back-end", client_secret: secret };
    const answer = await system.graphql(
      { kind: "anonymous", ...(jkt && { jkt }) },
      "mutation ($form: String!) { answerOAuth(endpoint: TOKEN, form: $form) { body } }",
      { form: String(new URLSearchParams({ ...form, ...credentials })) },
    );
    return JSON.parse(Answered.parse(dataOf(answer)).answerOAuth.body);
  }
  const refresh = (token: string, jkt?: string): Promise<unknown> =>
    ask({ grant_type: "refresh_token", refresh_token: token }, jkt);
  const goOn = async (token: string, jkt: string): Promise<z.infer<typeof Body>> =>
    Body.parse(await refresh(token, jkt));
  async function start(jkt: string, userId = newDeviceId()): Promise<z.infer<typeof Body>> {
    const grant_type = "urn:ietf:params:oauth:grant-type:jwt-bearer";
    const assertion = await system.grant({ sub: userId });
    return Body.parse(await ask({ grant_type, assertion, device_name: "A browser" }, jkt));
  }
  const boundTo = ({ access_token }: z.infer<typeof Body>): unknown => decodeJwt(access_token)["cnf"];
  const refusal = (reason: string): object => ({ error_description: expect.stringMatching(`^${reason}: `) });

  it("goes on with another key, to which its access tokens are bound from then on, on the same device", async () => {
    const [before, after] = [newKey(), newKey()];
    const userId = newDeviceId();
    const first = await start(before, userId);
    const second = await goOn(first.refresh_token, after);
    expect([second.token_type, boundTo(second)]).toEqual(["DPoP", { jkt: after }]);
    const third = await goOn(second.refresh_token, after);
    expect(boundTo(third)).toEqual({ jkt: after });
    // Another instance of the same back end.
    expect(boundTo(await goOn(third.refresh_token, before))).toEqual({ jkt: before });
    expect(await devicesOf(userId)).toMatchObject([{ jkt: before }]);
  });

  it("gets the same successor for a reply that was lost with the key, also from fifty instances at once", async () => {
    const { refresh_token } = await start(newKey());
    const keys = Array.from({ length: 50 }, newKey);
    const answers = await Promise.all(keys.map((jkt) => goOn(refresh_token, jkt)));
    expect(answers.map(boundTo)).toEqual(keys.map((jkt) => ({ jkt })));
    expect(new Set(answers.map((answer) => answer.refresh_token)).size).toBe(1);
    system.clock.advance(3_600_000);
    const late = newKey();
    const again = await goOn(refresh_token, late);
    expect([again.refresh_token, boundTo(again)]).toEqual([answers[0]?.refresh_token, { jkt: late }]);
  });

  it("is given nothing without a proof, and ends when a token comes back by whichever key", async () => {
    const jkt = newKey();
    const first = await start(jkt);
    const second = await goOn(first.refresh_token, jkt);
    const third = await goOn(second.refresh_token, jkt);
    for (const token of [first, second, third])
      expect(await refresh(token.refresh_token)).toMatchObject(refusal("DPOP_REQUIRED"));
    system.clock.advance(11_000);
    expect(await refresh(first.refresh_token, newKey())).toMatchObject(refusal("REFRESH_TOKEN_REUSED"));
    expect(await refresh(third.refresh_token, jkt)).toMatchObject(refusal("SESSION_ENDED"));
  });

  it("steps up, and comes back from a sign-out that was taken back, with the key that it has by now", async () => {
    const [jkt, person] = [newKey(), system.person()];
    const laptop = await person.signIn({ jkt: newKey() });
    const { refresh_token } = await goOn((await start(newKey(), person.userId)).refresh_token, jkt);
    const grant = await system.grant({ sub: person.userId, acr: "aal2", amr: ["pwd", "otp"] });
    const steppedUp = tokensIn(await laptop.tryStepUp(grant, refresh_token, jkt), "stepUp");
    expect(decodeJwt(steppedUp.accessToken)).toMatchObject({ acr: "aal2", cnf: { jkt } });
    const { signOutOtherDevices } = await laptop.data("mutation { signOutOtherDevices { receipt { seq } } }");
    const { seq } = z.object({ receipt: z.object({ seq: z.string() }) }).parse(signOutOtherDevices).receipt;
    expect(await refresh(steppedUp.refreshToken, jkt)).toMatchObject(refusal("SESSION_ENDED"));
    await laptop.data("mutation ($seq: String!) { undoSignOut(seq: $seq) { receipt { seq } } }", { seq });
    expect(boundTo(await goOn(steppedUp.refreshToken, jkt))).toEqual({ jkt });
  });
});

describe("signing in again on the same device, in the same application", () => {
  it("replaces the session there, also where the limit is reached and no other would be let in", async () => {
    const person = system.person();
    const bank = { applicationId: "bank", jkt: newKey() };
    const first = await person.signIn(bank);
    expect(faultOf(await person.startSession({ applicationId: "bank", jkt: newKey() }))).toBe(
      "FORBIDDEN SESSION_LIMIT_REACHED",
    );
    const second = await person.signIn(bank);
    const { rows } = await system.admin.query("SELECT id, state, end_reason FROM session.sessions WHERE user_id = $1", [
      person.userId,
    ]);
    expect(rows).toEqual(
      expect.arrayContaining([
        { id: first.viewer.sessionId, state: "REVOKED", end_reason: "REPLACED" },
        { id: second.viewer.sessionId, state: "ACTIVE", end_reason: null },
      ]),
    );
    expect(rows).toHaveLength(2);
  });

  it("evicts nobody at the limit: the one that is replaced makes the room", async () => {
    const person = system.person();
    const jkt = newKey();
    const limit = (most: number): Promise<unknown> =>
      system.admin.query("UPDATE session.policies SET max_sessions = $1 WHERE application_id = 'continuo'", [most]);
    await limit(2);
    try {
      const other = await person.signIn({ jkt: newKey() });
      await person.signIn({ jkt });
      const again = await person.signIn({ jkt });
      const live = "SELECT id FROM session.sessions WHERE user_id = $1 AND state = 'ACTIVE' ORDER BY id";
      const { rows } = await system.admin.query(live, [person.userId]);
      expect(rows).toEqual([{ id: other.viewer.sessionId }, { id: again.viewer.sessionId }]);
    } finally {
      await limit(50);
    }
  });
});

describe("a session approved in another one", () => {
  it("descends from it and is not outlived by it", async () => {
    const person = system.person();
    const parent = await person.signIn();
    system.clock.advance(3 * 24 * 3_600_000);
    await system.admin.query("UPDATE session.sessions SET idle_deadline = absolute_deadline WHERE id = $1", [
      parent.viewer.sessionId,
    ]);
    const grant = await system.grant({ sub: person.userId, parent: parent.viewer.sessionId });
    const child = await person.signIn({ grant, platform: "TV" });
    const { rows } = await system.admin.query(
      `SELECT s.parent_id, s.origin, s.absolute_deadline = p.absolute_deadline AS same
         FROM session.sessions s JOIN session.sessions p ON p.id = s.parent_id WHERE s.id = $1`,
      [child.viewer.sessionId],
    );
    expect(rows).toEqual([{ parent_id: parent.viewer.sessionId, origin: "TRANSFER", same: true }]);
  });

  it("does not begin once that one has ended, nor on the word of a session of somebody else", async () => {
    const person = system.person();
    const parent = await person.signIn();
    const stranger = await system.person().signIn();
    await parent.data("mutation { signOut { receipt { seq } } }");
    for (const sessionId of [parent.viewer.sessionId, stranger.viewer.sessionId]) {
      const grant = await system.grant({ sub: person.userId, parent: sessionId });
      expect(faultOf(await person.startSession({ grant }))).toBe("UNAUTHENTICATED GRANT_INVALID");
    }
  });
});
