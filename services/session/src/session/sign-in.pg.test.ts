import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { v4 as newDeviceId, v7 as newId } from "uuid";
import { dataOf, faultOf } from "../person.fixture.ts";
import { startSystem, type System } from "../system.fixture.ts";

let system: System;
beforeAll(async () => {
  system = await startSystem();
  await system.addWebhook();
});
afterAll(async () => system[Symbol.asyncDispose]());

const rowsOf = async (text: string, values: unknown[] = []): Promise<unknown[]> =>
  (await system.admin.query<Record<string, unknown>>(text, values)).rows;

describe("the start of a session", () => {
  it("shows the device that signed in as the current one", async () => {
    const phone = await system.person().signIn({ name: "Pixel 12", platform: "PHONE" });
    const { viewer } = await phone.data(`{
      viewer { user { id } session { id isCurrent state acr amr application { id name } expiresBecause endReason }
        device { id name detectedName platform isCurrent isSignedIn signOut { reason } } }
    }`);
    expect(viewer).toMatchObject({
      user: { id: phone.viewer.userId },
      session: {
        id: phone.viewer.sessionId,
        isCurrent: true,
        state: "ACTIVE",
        acr: "aal1",
        amr: ["pwd"],
        application: { id: "continuo", name: "Continuo" },
        expiresBecause: "IDLE",
        endReason: null,
      },
      device: {
        id: phone.viewer.deviceId,
        name: "Pixel 12",
        detectedName: "Pixel 12",
        platform: "PHONE",
        isCurrent: true,
        isSignedIn: true,
        signOut: null,
      },
    });
  });

  it("uses a grant once, also when two try at the same moment", async () => {
    const person = system.person();
    const grant = await system.grant({ sub: person.userId });
    const answers = await Promise.all(Array.from({ length: 8 }, () => person.startSession({ grant })));
    expect(answers.map(faultOf).filter((fault) => fault === undefined)).toHaveLength(1);
    expect(answers.map(faultOf).filter((fault) => fault === "UNAUTHENTICATED GRANT_USED")).toHaveLength(7);
    expect(await rowsOf("SELECT FROM session.sessions WHERE user_id = $1", [person.userId])).toHaveLength(1);
  });

  it("refuses a grant that is forged or too old", async () => {
    const person = system.person();
    const grant = await system.grant({ sub: person.userId });
    expect(faultOf(await person.startSession({ grant: `${grant.slice(0, -4)}AAAA` }))).toBe(
      "UNAUTHENTICATED GRANT_INVALID",
    );
    system.clock.advance(61_000);
    expect(faultOf(await person.startSession({ grant }))).toBe("UNAUTHENTICATED GRANT_EXPIRED");
  });

  it("knows no application but the registered ones, and takes no nonsense for a device", async () => {
    const person = system.person();
    expect(faultOf(await person.startSession({ applicationId: "nobody" }))).toBe("NOT_FOUND APPLICATION_NOT_FOUND");
    for (const bad of [
      { name: "" },
      { name: " " },
      { name: "x".repeat(65) },
      { name: "a\u0000b" },
      { deviceId: "7" },
    ]) {
      expect(faultOf(await person.startSession(bad))).toBe("BAD_USER_INPUT INPUT_INVALID");
    }
    expect(faultOf(await person.startSession({ platform: "FRIDGE" }))).toBe("BAD_USER_INPUT VARIABLES_INVALID");
  });

  it("does not come about in an application that has no rules in force", async () => {
    await system.admin.query("INSERT INTO session.applications VALUES ('reports', 'Reports', now())");
    expect(faultOf(await system.person().startSession({ applicationId: "reports" }))).toBe(
      "NOT_FOUND APPLICATION_NOT_FOUND",
    );
  });

  it("asks for a stronger sign-in where the policy does", async () => {
    await system.admin.query("INSERT INTO session.applications VALUES ('vault', 'Vault', now())");
    await system.admin.query(`INSERT INTO session.policies
      SELECT 'vault', 1, state, idle_seconds, absolute_seconds, access_token_seconds, device_binding, max_sessions,
             at_limit, 'aal2', step_up_seconds, persistence, posture, activated_at
        FROM session.policies WHERE application_id = 'continuo'`);
    const person = system.person();
    const answer = await person.startSession({ applicationId: "vault" });
    expect(answer.errors?.[0]?.extensions).toMatchObject({
      code: "STEP_UP_REQUIRED",
      reason: "ACR_TOO_LOW",
      details: { acrValues: ["aal2"] },
    });
    const grant = await system.grant({ sub: person.userId, acr: "aal3" });
    dataOf(await person.startSession({ applicationId: "vault", grant }));
  });

  it("uses the device's row again, also after it was signed out, and keeps the name its owner gave it", async () => {
    const person = system.person();
    const first = await person.signIn({ name: "Chrome 1" });
    const { deviceId } = first.viewer;
    await first.data(`mutation ($id: ID!) { renameDevice(id: $id, name: "Study") { id } }`, { id: deviceId });
    await first.data(`mutation { signOut { receipt { seq } } }`);
    const again = await person.signIn({ name: "Chrome 2", deviceId });
    expect(again.viewer.deviceId).toBe(deviceId);
    const { viewer } = await again.data(`{ viewer { devices { totalCount nodes { name detectedName isSignedIn } } } }`);
    expect(viewer).toEqual({
      devices: { totalCount: 1, nodes: [{ name: "Study", detectedName: "Chrome 2", isSignedIn: true }] },
    });
  });

  it("gives a device id of somebody else, or of nobody, a row of its own", async () => {
    const stranger = await system.person().signIn();
    const person = system.person();
    const borrowed = await person.signIn({ deviceId: stranger.viewer.deviceId });
    const invented = await person.signIn({ deviceId: newDeviceId() });
    expect(new Set([stranger, borrowed, invented].map(({ viewer }) => viewer.deviceId)).size).toBe(3);
    const { viewer } = await stranger.data("{ viewer { device { name } devices { totalCount } } }");
    expect(viewer).toEqual({ device: { name: "Firefox on Linux" }, devices: { totalCount: 1 } });
  });
});

describe("the policy's limit", () => {
  const setLimit = async (maxSessions: number): Promise<string> => {
    const id = newId();
    await system.admin.query("INSERT INTO session.applications VALUES ($1, 'Limited', now())", [id]);
    await system.admin.query(
      `INSERT INTO session.policies
       SELECT $1, 1, state, idle_seconds, absolute_seconds, access_token_seconds, device_binding, $2, at_limit,
              required_acr, step_up_seconds, persistence, posture, activated_at
         FROM session.policies WHERE application_id = 'continuo'`,
      [id, maxSessions],
    );
    return id;
  };

  it("is exact under 200 sign-ins at once, and touches no session of another application", async () => {
    const applicationId = await setLimit(5);
    const person = system.person();
    const elsewhere = await person.signIn();
    await Promise.all(Array.from({ length: 200 }, () => person.signIn({ applicationId })));
    const counts = await rowsOf(
      `SELECT state, end_reason, count(*)::int FROM session.sessions
        WHERE user_id = $1 AND application_id = $2 GROUP BY 1, 2 ORDER BY 1`,
      [person.userId, applicationId],
    );
    expect(counts).toEqual([
      { state: "ACTIVE", end_reason: null, count: 5 },
      { state: "REVOKED", end_reason: "EVICTED", count: 195 },
    ]);
    expect(
      await rowsOf(
        `SELECT FROM session.grants AS g JOIN session.sessions AS s ON s.id = g.session_id
          WHERE s.user_id = $1 AND (g.state = 'ACTIVE') <> (s.state = 'ACTIVE')`,
        [person.userId],
      ),
    ).toEqual([]);
    expect(await rowsOf("SELECT FROM session.revocations WHERE user_id = $1", [person.userId])).toHaveLength(195);
    await elsewhere.refresh();
  });

  it("ends the oldest to make room, as a sign-out would", async () => {
    const applicationId = await setLimit(2);
    const person = system.person();
    const oldest = await person.signIn({ applicationId });
    const newer = [await person.signIn({ applicationId }), await person.signIn({ applicationId })];
    const answer = await oldest.tryRefresh();
    expect(answer.errors?.[0]?.extensions).toMatchObject({
      reason: "SESSION_ENDED",
      details: { endReason: "EVICTED" },
    });
    for (const session of newer) await session.refresh();
    const logged = await rowsOf(
      `SELECT r.kind, r.reason, o.topic FROM session.revocations AS r
         JOIN session.outbox AS o ON o.payload -> 'seqs' @> to_jsonb(r.seq)
        WHERE r.user_id = $1 AND r.session_ids = ARRAY[$2::uuid]`,
      [person.userId, oldest.viewer.sessionId],
    );
    expect(logged).toEqual([{ kind: "SESSION", reason: "EVICTED", topic: "fan-out-revocation" }]);

    await system.admin.query("UPDATE session.policies SET max_sessions = 1 WHERE application_id = $1", [applicationId]);
    const newest = await person.signIn({ applicationId });
    expect(
      await rowsOf("SELECT id FROM session.sessions WHERE user_id = $1 AND state = 'ACTIVE'", [person.userId]),
    ).toEqual([{ id: newest.viewer.sessionId }]);
  });

  it("ends the oldest first, where a lowered limit leaves more than go at once", async () => {
    const applicationId = await setLimit(500);
    const person = system.person();
    const signedIn: string[] = [];
    for (let count = 0; count < 102; count += 1)
      signedIn.push((await person.signIn({ applicationId })).viewer.sessionId);
    await system.admin.query("UPDATE session.policies SET max_sessions = 1 WHERE application_id = $1", [applicationId]);
    signedIn.push((await person.signIn({ applicationId })).viewer.sessionId);
    const left = await rowsOf("SELECT id FROM session.sessions WHERE user_id = $1 AND state = 'ACTIVE'", [
      person.userId,
    ]);
    expect(new Set(left)).toEqual(new Set(signedIn.slice(-3).map((id) => ({ id }))));
  });

  it("refuses one more where the policy says so, and lets it in once there is room, with the same grant", async () => {
    const person = system.person();
    const first = await person.signIn({ applicationId: "bank" });
    const grant = await system.grant({ sub: person.userId });
    const answers = await Promise.all(
      Array.from({ length: 5 }, () => person.startSession({ applicationId: "bank", grant })),
    );
    expect(new Set(answers.map(faultOf))).toEqual(new Set(["FORBIDDEN SESSION_LIMIT_REACHED"]));
    await first.data("mutation { signOut { receipt { seq } } }");
    dataOf(await person.startSession({ applicationId: "bank", grant }));
  });

  it("counts no session that has lapsed, though no worker has said so", async () => {
    const person = system.person();
    await person.signIn({ applicationId: "bank" });
    system.clock.advance(6_001);
    expect(faultOf(await person.startSession({ applicationId: "bank" }))).toBeUndefined();
  });
});
