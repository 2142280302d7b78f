import { decodeJwt } from "jose";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { dataOf, faultOf, type SignedIn } from "../person.fixture.ts";
import { startSystem, type System } from "../system.fixture.ts";
import { newApplication } from "../population.fixture.ts";

const [MINUTE, HOUR] = [60_000, 3_600_000];

let system: System;
let applicationId: string;
beforeAll(async () => {
  system = await startSystem();
  applicationId = await newApplication(system.admin, { idleSeconds: 3_600, absoluteSeconds: 4 * 3_600 });
});
afterAll(async () => system[Symbol.asyncDispose]());

const Ends = z.object({
  viewer: z.object({
    session: z.object({ expiresAt: z.coerce.date(), expiresBecause: z.string(), expiresAtLatest: z.coerce.date() }),
  }),
});

/** Minutes from now. */
async function endsOf(session: SignedIn): Promise<{ at: number; because: string; latest: number }> {
  const { viewer } = Ends.parse(
    await session.data("{ viewer { session { expiresAt expiresBecause expiresAtLatest } } }"),
  );
  const inMinutes = (at: Date): number => (at.getTime() - system.clock.now.getTime()) / MINUTE;
  const { expiresAt, expiresBecause, expiresAtLatest } = viewer.session;
  return { at: inMinutes(expiresAt), because: expiresBecause, latest: inMinutes(expiresAtLatest) };
}

const Grant = z.object({ gid: z.string(), gen: z.number() });

/** What the gateway reports when a person did something. */
async function act({ viewer, tokens }: SignedIn): Promise<void> {
  const { gid, gen } = Grant.parse(decodeJwt(tokens.accessToken));
  const seen = [{ sessionId: viewer.sessionId, at: system.clock.now.getTime(), grantId: gid, generation: gen }];
  expect((await system.internal("/internal/activity", { seen })).status).toBe(204);
}

describe("the end of a session", () => {
  it("does not move with what no person does: an hour of polling and refreshing ends it", async () => {
    const session = await system.person().signIn({ applicationId });
    let { refreshToken } = session.tokens;
    for (let minute = 1; minute < 60; minute += 1) {
      system.clock.advance(MINUTE);
      ({ refreshToken } = await session.refresh(refreshToken));
      expect(await endsOf(session)).toEqual({ at: 60 - minute, because: "IDLE", latest: 240 - minute });
    }
    system.clock.advance(MINUTE);
    expect(faultOf(await session.graphql("{ viewer { session { id } } }"))).toBe("UNAUTHENTICATED SESSION_ENDED");
    expect((await session.tryRefresh(refreshToken)).errors?.[0]?.extensions.details).toEqual({ endReason: "IDLE" });
  });

  it("moves with what a person does, for two hours, and never beyond the latest", async () => {
    const session = await system.person().signIn({ applicationId });
    for (let minute = 1; minute <= 120; minute += 1) {
      system.clock.advance(MINUTE);
      await act(session);
    }
    expect(await endsOf(session)).toEqual({ at: 60, because: "IDLE", latest: 120 });
    for (let round = 0; round < 4; round += 1) {
      system.clock.advance(25 * MINUTE);
      await act(session);
    }
    expect(await endsOf(session)).toEqual({ at: 20, because: "ABSOLUTE", latest: 20 });
    let { refreshToken } = session.tokens;
    ({ refreshToken } = await session.refresh(refreshToken));
    expect(await endsOf(session)).toEqual({ at: 20, because: "ABSOLUTE", latest: 20 });
    system.clock.advance(20 * MINUTE);
    expect((await session.tryRefresh(refreshToken)).errors?.[0]?.extensions.details).toEqual({ endReason: "ABSOLUTE" });
  });

  it("stays what it was, whoever signs out afterwards", async () => {
    const person = system.person();
    const over = await person.signIn({ applicationId });
    system.clock.advance(HOUR);
    const laptop = await person.signIn();
    expect(await laptop.data("mutation { signOutOtherDevices { receipt { seq } } }")).toEqual({
      signOutOtherDevices: { receipt: null },
    });
    const form = `client_id=${applicationId}&token=${over.tokens.refreshToken}`;
    const query = "mutation ($form: String!) { answerOAuth(endpoint: REVOCATION, form: $form) { status } }";
    dataOf(await system.graphql({ kind: "anonymous" }, query, { form }));
    expect((await over.tryRefresh()).errors?.[0]?.extensions.details).toEqual({ endReason: "IDLE" });
  });

  it("is explained by the application's policy, with its number; for an ended session as well", async () => {
    const person = system.person();
    const [watching, ended] = [await person.signIn(), await person.signIn({ applicationId })];
    system.clock.advance(HOUR);
    const { viewer } = await watching.data(
      `{ viewer { devices { nodes { sessions(ended: true) {
           application { name } endReason endedAt policy { version idleSeconds absoluteSeconds maxSessions atLimit mayPersist posture
           accessTokenSeconds requiredAcr stepUpSeconds deviceBinding } } } } } }`,
    );
    const { devices } = z
      .object({
        devices: z.object({ nodes: z.array(z.object({ sessions: z.array(z.record(z.string(), z.unknown())) })) }),
      })
      .parse(viewer);
    const shown = devices.nodes.flatMap(({ sessions }) => sessions);
    expect(shown).toHaveLength(2);
    expect(shown).toContainEqual({
      application: { name: "Tried" },
      endReason: "IDLE",
      endedAt: system.clock.now.toISOString(),
      policy: {
        version: 1,
        idleSeconds: 3_600,
        absoluteSeconds: 14_400,
        maxSessions: 100,
        atLimit: "EVICT_OLDEST",
        mayPersist: true,
        posture: "STRICT",
        accessTokenSeconds: 60,
        requiredAcr: null,
        stepUpSeconds: 300,
        deviceBinding: "NONE",
      },
    });
    expect(faultOf(await ended.tryRefresh())).toBe("UNAUTHENTICATED SESSION_ENDED");
  });
});
