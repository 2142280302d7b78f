import { createAccessTokenVerifier } from "@continuo/access";
import { createRemoteJWKSet } from "jose";
import { Pool } from "pg";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { hold, lockWaiters } from "../lock.fixture.ts";
import { faultOf, tokensIn, type SignedIn } from "../person.fixture.ts";
import { startSystem, type System } from "../system.fixture.ts";
import { createRefreshTokenCodec } from "./refresh-token.ts";
import { createRotationStore } from "./rotation.store.ts";

const HOUR = 3_600_000;

let system: System;
beforeAll(async () => {
  system = await startSystem({ poolSize: 20 });
});
afterAll(async () => system[Symbol.asyncDispose]());

async function grantOf({ viewer }: SignedIn): Promise<{ generation: number; confirmed: number }> {
  const { rows } = await system.admin.query<{ generation: number; confirmed: number }>(
    "SELECT generation, confirmed_generation AS confirmed FROM session.grants WHERE session_id = $1",
    [viewer.sessionId],
  );
  const [row] = rows;
  if (row === undefined) throw new Error("there is no grant");
  return row;
}

const endReasonOf = (answer: Awaited<ReturnType<SignedIn["tryRefresh"]>>): unknown =>
  answer.errors?.[0]?.extensions.details?.["endReason"];

/** As the gateway reports that it has seen an access token of this generation. */
const reportUse = async ({ viewer, tokens }: SignedIn, generation: number): Promise<void> => {
  const grantId = JSON.parse(Buffer.from(tokens.accessToken.split(".")[1] ?? "", "base64url").toString()).gid;
  const seen = [{ sessionId: viewer.sessionId, at: system.clock.now.getTime(), grantId, generation }];
  expect((await system.internal("/internal/activity", { seen })).status).toBe(204);
};

describe("a refresh", () => {
  it("gives tokens that anybody can verify with the published keys, and that say the same as before", async () => {
    const laptop = await system.person().signIn();
    const tokens = await laptop.refresh();
    const verifier = createAccessTokenVerifier({
      issuer: system.env.TOKEN_ISSUER,
      audience: "continuo",
      keys: createRemoteJWKSet(new URL("/.well-known/jwks.json", system.url)),
    });
    const [before, after] = await Promise.all([
      verifier.verify(laptop.tokens.accessToken),
      verifier.verify(tokens.accessToken),
    ]);
    expect(after).toEqual({ ...before, jti: after.jti, iat: after.iat, exp: after.exp, gen: 2 });
    expect(before.gen).toBe(1);
    expect(tokens.expiresIn).toBe(Math.floor(after.exp - system.clock.now.getTime() / 1_000));
    expect(tokens.expiresIn).toBeGreaterThanOrEqual(268);
    expect(tokens.expiresIn).toBeLessThanOrEqual(300);
  });

  it("of one token by 50 at once rotates once and gives all the same successor", async () => {
    const laptop = await system.person().signIn();
    const answers = await Promise.all(Array.from({ length: 50 }, () => laptop.refresh()));
    expect(new Set(answers.map(({ refreshToken }) => refreshToken)).size).toBe(1);
    expect(new Set(answers.map(({ session }) => session.id))).toEqual(new Set([laptop.viewer.sessionId]));
    expect(await grantOf(laptop)).toEqual({ generation: 2, confirmed: 1 });
    await laptop.refresh(answers[0]?.refreshToken);
  });

  it("whose reply was lost gets the same successor again, after 5 seconds, 2 minutes and 8 hours", async () => {
    const phone = await system.person().signIn();
    const lost = await phone.refresh();
    for (const wait of [5_000, 120_000, 8 * HOUR]) {
      system.clock.advance(wait);
      expect((await phone.refresh()).refreshToken).toBe(lost.refreshToken);
    }
    expect(await grantOf(phone)).toEqual({ generation: 2, confirmed: 1 });
    await phone.refresh(lost.refreshToken);
  });

  it("with a token used before, its successor in use, ends this session and no other", async () => {
    const person = system.person();
    const [phone, laptop] = [await person.signIn(), await person.signIn()];
    const stolen = phone.tokens.refreshToken;
    const second = await phone.refresh();
    const third = await phone.refresh(second.refreshToken);
    system.clock.advance(11_000);
    expect(faultOf(await phone.tryRefresh(stolen))).toBe("UNAUTHENTICATED REFRESH_TOKEN_REUSED");
    for (const token of [stolen, second.refreshToken, third.refreshToken]) {
      const answer = await phone.tryRefresh(token);
      expect([faultOf(answer), endReasonOf(answer)]).toEqual(["UNAUTHENTICATED SESSION_ENDED", "REFRESH_TOKEN_REUSED"]);
    }
    await laptop.refresh();
    const { viewer } = await laptop.data("{ viewer { devices { nodes { id isSignedIn signOut { reason } } } } }");
    expect(viewer).toEqual({
      devices: {
        nodes: [
          { id: laptop.viewer.deviceId, isSignedIn: true, signOut: null },
          { id: phone.viewer.deviceId, isSignedIn: false, signOut: { reason: "REFRESH_TOKEN_REUSED" } },
        ],
      },
    });
  });

  it("finds a thief at the second use, whichever of the two comes first", async () => {
    for (const thiefFirst of [true, false]) {
      const phone = await system.person().signIn();
      const copy = phone.tokens.refreshToken;
      const one = await phone.refresh(copy);
      await reportUse(phone, 2);
      system.clock.advance(60_000);
      // The other holder of the copy comes second; the rule is the same whichever it is.
      expect(faultOf(await phone.tryRefresh(thiefFirst ? copy : phone.tokens.refreshToken))).toBe(
        "UNAUTHENTICATED REFRESH_TOKEN_REUSED",
      );
      expect(faultOf(await phone.tryRefresh(one.refreshToken))).toBe("UNAUTHENTICATED SESSION_ENDED");
    }
  });

  it("counts a successor as received once the gateway has seen its access token", async () => {
    const phone = await system.person().signIn();
    await phone.refresh();
    await reportUse(phone, 2);
    expect(await grantOf(phone)).toEqual({ generation: 2, confirmed: 2 });
    expect((await phone.refresh()).refreshToken).toBeDefined();
    system.clock.advance(11_000);
    expect(faultOf(await phone.tryRefresh())).toBe("UNAUTHENTICATED REFRESH_TOKEN_REUSED");
  });

  it("stays one with a repeat for 10 seconds and no longer, its successor in use", async () => {
    const phone = await system.person().signIn();
    const { refreshToken } = await phone.refresh();
    await reportUse(phone, 2);
    system.clock.advance(10_000);
    expect((await phone.refresh()).refreshToken).toBe(refreshToken);
    system.clock.advance(1);
    expect(faultOf(await phone.tryRefresh())).toBe("UNAUTHENTICATED REFRESH_TOKEN_REUSED");
  });

  it.each([
    ["ahead of", HOUR],
    ["behind", -HOUR],
  ])("is dated by the database, though the clock of its process is an hour %s that", async (_where, skew) => {
    const pool = new Pool({ connectionString: system.env.DATABASE_URL });
    await using _pool = { [Symbol.asyncDispose]: () => pool.end() };
    const store = createRotationStore(pool);
    const phone = await system.person().signIn();
    const presented = createRefreshTokenCodec(system.env.MASTER_KEY).decode(phone.tokens.refreshToken);
    if (!presented) throw new Error("the token is good");
    const by = { jkt: null, client: null, keyId: 1 };
    const skewed = new Date(system.clock.now.getTime() + skew);
    expect(await store.advance(presented, by, skewed)).toMatchObject({ generation: 2 });
    expect(await store.read(presented)).toMatchObject({ hasJustRotated: true });
    await system.admin.query(
      "UPDATE session.grants SET rotated_at = rotated_at - interval '10 seconds' WHERE session_id = $1",
      [phone.viewer.sessionId],
    );
    expect(await store.read(presented)).toMatchObject({ hasJustRotated: false });
  });

  it("is refused for a genuine token of a generation that the database does not know yet, noted once a session", async () => {
    const person = system.person();
    for (const device of [await person.signIn(), await person.signIn()]) {
      const { sessionId } = device.viewer;
      const second = await device.refresh();
      const third = await device.refresh(second.refreshToken);
      await system.admin.query(
        "UPDATE session.grants SET generation = 1, confirmed_generation = 0 WHERE session_id = $1",
        [sessionId],
      );
      for (let attempt = 0; attempt < 3; attempt += 1) {
        expect(faultOf(await device.tryRefresh(third.refreshToken))).toBe("UNAUTHENTICATED GRANT_ROLLED_BACK");
      }
      expect(await grantOf(device)).toEqual({ generation: 1, confirmed: 0 });
      const { rows } = await system.admin.query(
        "SELECT detail FROM session.auth_events WHERE session_id = $1 AND type = 'GRANT_AHEAD'",
        [sessionId],
      );
      expect(rows).toEqual([{ detail: { presented: 3, current: 1 } }]);
    }
  });

  it("is refused for a token whose grant has another salt, though its HMAC is right", async () => {
    const phone = await system.person().signIn();
    await system.admin.query(
      "UPDATE session.grants SET salt = '\\x00000000000000000000000000000000' WHERE session_id = $1",
      [phone.viewer.sessionId],
    );
    expect(faultOf(await phone.tryRefresh())).toBe("UNAUTHENTICATED REFRESH_TOKEN_INVALID");
  });

  it.each([
    ["junk", "UNAUTHENTICATED REFRESH_TOKEN_INVALID"],
    ["cnt_rt_AAAA", "UNAUTHENTICATED REFRESH_TOKEN_INVALID"],
    ["", "BAD_USER_INPUT INPUT_INVALID"],
    ["x".repeat(513), "BAD_USER_INPUT INPUT_INVALID"],
  ])("is refused for %j", async (junk, fault) => {
    const phone = await system.person().signIn();
    expect(faultOf(await phone.tryRefresh(junk))).toBe(fault);
  });

  it("is refused from the moment of the idle deadline and of the absolute one, though no worker is there", async () => {
    const idle = await system.person().signIn({ applicationId: "bank" });
    system.clock.advance(5_900);
    const tokens = await idle.refresh();
    expect(tokens.expiresIn).toBe(0);
    system.clock.advance(100);
    const answer = await idle.tryRefresh(tokens.refreshToken);
    expect([faultOf(answer), endReasonOf(answer)]).toEqual(["UNAUTHENTICATED SESSION_ENDED", "IDLE"]);

    const absolute = await system.person().signIn({ applicationId: "bank" });
    await system.admin.query(
      "UPDATE session.sessions SET idle_deadline = absolute_deadline + interval '1 day' WHERE id = $1",
      [absolute.viewer.sessionId],
    );
    system.clock.advance(60_000);
    const late = await absolute.tryRefresh();
    expect([faultOf(late), endReasonOf(late)]).toEqual(["UNAUTHENTICATED SESSION_ENDED", "ABSOLUTE"]);
  });
});

describe("refreshes that share a statement", () => {
  it("take the locks of their grants in the order of ids, as whoever ends sessions does", async () => {
    const pool = new Pool({ connectionString: system.env.DATABASE_URL });
    await using _pool = { [Symbol.asyncDispose]: () => pool.end() };
    const store = createRotationStore(pool);
    const codec = createRefreshTokenCodec(system.env.MASTER_KEY);
    const devices = await Promise.all(Array.from({ length: 8 }, () => system.person().signIn()));
    const [lowest, ...others] = devices
      .flatMap(({ tokens }) => codec.decode(tokens.refreshToken) ?? [])
      .toSorted((one, other) => (one.grantId < other.grantId ? -1 : 1));
    if (lowest === undefined) throw new Error("the tokens are good");
    // The update moves the row behind all others in the heap, so a scan in physical order reaches it last.
    await system.admin.query("UPDATE session.grants SET salt = salt WHERE id = $1", [lowest.grantId]);
    const held = await hold(system.admin, "SELECT FROM session.grants WHERE id = $1 FOR UPDATE", [lowest.grantId]);
    await using _ = held;
    const by = { jkt: null, client: null, keyId: codec.currentKeyId };
    const advanced = [...others, lowest].map((presented) => store.advance(presented, by, system.clock.now));
    await lockWaiters(system.admin, 1);
    const { rows } = await system.admin.query("SELECT FROM session.grants WHERE id = ANY ($1) FOR UPDATE SKIP LOCKED", [
      others.map(({ grantId }) => grantId),
    ]);
    expect(rows).toHaveLength(others.length);
    await held[Symbol.asyncDispose]();
    expect((await Promise.all(advanced)).map((each) => each?.generation)).toEqual(Array(8).fill(2));
  });
});

describe("a refresh that waits for a sign-out under way", () => {
  it("is refused once that has committed", async () => {
    const person = system.person();
    const [phone, laptop] = [await person.signIn(), await person.signIn()];
    // Holds the head of the log, so that the sign-out stops with all its locks taken but one.
    const logHead = await hold(system.admin, "SELECT FROM session.revocation_head FOR UPDATE");
    await using _ = logHead;
    const signOut = laptop.data("mutation ($id: ID!) { signOutDevice(id: $id) { receipt { sessionsEnded } } }", {
      id: phone.viewer.deviceId,
    });
    await lockWaiters(system.admin, 1);
    const refresh = phone.tryRefresh();
    await lockWaiters(system.admin, 2);
    await logHead[Symbol.asyncDispose]();
    expect(await signOut).toEqual({ signOutDevice: { receipt: { sessionsEnded: 1 } } });
    const answer = await refresh;
    expect([faultOf(answer), endReasonOf(answer)]).toEqual(["UNAUTHENTICATED SESSION_ENDED", "SIGNED_OUT_REMOTELY"]);
  });

  it("leaves no usable token in a storm of refreshes", async () => {
    const person = system.person();
    const [phone, laptop] = [await person.signIn(), await person.signIn()];
    const storm = (async () => {
      let token = phone.tokens.refreshToken;
      for (;;) {
        const answers = await Promise.all(Array.from({ length: 10 }, () => phone.tryRefresh(token)));
        if (answers.every((answer) => faultOf(answer) !== undefined)) return answers.map(faultOf);
        token = answers.flatMap((answer) => (answer.data ? [tokensIn(answer).refreshToken] : []))[0] ?? token;
      }
    })();
    await vi.waitFor(async () => expect((await grantOf(phone)).generation).toBeGreaterThan(3), { timeout: 60_000 });
    await laptop.data("mutation { signOutOtherDevices { receipt { seq } } }");
    const before = await grantOf(phone);
    expect(new Set(await storm)).toEqual(new Set(["UNAUTHENTICATED SESSION_ENDED"]));
    expect(await grantOf(phone)).toEqual(before);
  });
});
