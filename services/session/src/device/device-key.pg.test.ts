import { decodeJwt } from "jose";
import { v4 as newDeviceId } from "uuid";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { faultOf, tokensIn, type SignedIn } from "../person.fixture.ts";
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
    expect([again, mistaken].map(idOf)).toEqual([idOf(first), idOf(first)]);
    expect(await devicesOf(person.userId)).toEqual([{ id: idOf(first), jkt }]);
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
    const refreshed = tokensIn(await phone.tryRefresh(phone.tokens.refreshToken, newKey()));
    expect(refreshed.tokenType).toBe("Bearer");
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
