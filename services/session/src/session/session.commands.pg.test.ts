import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { operate, type Outcome } from "../operator.fixture.ts";
import { faultOf } from "../person.fixture.ts";
import { startSystem, type System } from "../system.fixture.ts";

let system: System;
beforeAll(async () => {
  system = await startSystem();
});
afterAll(() => system[Symbol.asyncDispose]());

const continuo = (...argv: string[]): Promise<Outcome> => operate(system, "sessions", ...argv);
const Listed = z.array(z.object({ id: z.string(), expiresAt: z.iso.datetime() }));
const listed = async (...argv: string[]): Promise<string[]> =>
  Listed.parse((await continuo("list", ...argv)).value).map(({ id }) => id);

describe("an operator", () => {
  it("sees who is signed in, by a filter", async () => {
    const person = system.person();
    const [old, bank] = [await person.signIn(), await person.signIn({ applicationId: "bank" })];
    const user = ["--user", person.userId];
    expect(new Set(await listed(...user))).toEqual(new Set([old.viewer.sessionId, bank.viewer.sessionId]));
    for (const filter of [
      ["--application", "bank"],
      ["--session", bank.viewer.sessionId],
      ["--device", bank.viewer.deviceId],
    ])
      expect(await listed(...user, ...filter)).toEqual([bank.viewer.sessionId]);
    expect(await listed(...user, "--limit", "1")).toHaveLength(1);
    await old.data("mutation { signOut { receipt { seq } } }");
    expect(await listed(...user)).toEqual([bank.viewer.sessionId]);
  });

  it("signs out those that a filter names: counted first, confirmed, with progress and a result to go on with", async () => {
    const people = Array.from({ length: 3 }, () => system.person());
    const early = await Promise.all(people.map((person) => person.signIn()));
    system.clock.advance(1_000);
    const startedBefore = system.clock.now.toISOString();
    const late = await system.person().signIn();
    const filter = ["revoke", "--application", "continuo", "--started-before", startedBefore];

    expect(await continuo(...filter, "--dry-run")).toMatchObject({
      code: 0,
      value: { sessions: 3, users: 3, applications: { continuo: 3 }, dryRun: true },
    });
    expect(await continuo(...filter)).toMatchObject({ code: 3, value: undefined });
    for (const session of early) await session.refresh();

    const done = await continuo(...filter, "--yes");
    expect(done).toMatchObject({
      code: 0,
      value: { sessionsEnded: 3, usersConcerned: 3, lastSeq: expect.any(Number) },
    });
    expect(done.said).toContain('{"progress":{"what":"sessions signed out","done":3,"total":3}}');
    for (const session of early) expect(faultOf(await session.tryRefresh())).toBe("UNAUTHENTICATED SESSION_ENDED");
    expect((await early[0]?.tryRefresh())?.errors?.[0]?.extensions.details).toEqual({ endReason: "ADMINISTRATOR" });
    await late.refresh();
    expect(await continuo(...filter)).toMatchObject({ code: 0, value: { sessionsEnded: 0, lastSeq: null } });
  });

  it("stops after a batch when they leave, and is told that it is not all", async () => {
    const { viewer } = await system.person().signIn();
    const leaving = { ...system, signal: AbortSignal.abort() };
    const done = await operate(leaving, "sessions", "revoke", "--session", viewer.sessionId, "--yes");
    expect(done).toMatchObject({ code: 3, value: { sessionsEnded: 1 } });
  });

  it("signs out one person, or everybody who is there", async () => {
    const [one, other] = [system.person(), system.person()];
    const sessions = [await one.signIn(), await one.signIn({ applicationId: "bank" }), await other.signIn()];
    const live = async (): Promise<boolean[]> =>
      Promise.all(sessions.map(async (session) => faultOf(await session.tryRefresh()) === undefined));
    await continuo("revoke", "--user", one.userId, "--yes");
    expect(await live()).toEqual([false, false, true]);
    system.clock.advance(1);
    await continuo("revoke", "--started-before", system.clock.now.toISOString(), "--yes");
    expect(await live()).toEqual([false, false, false]);
    expect(await listed()).toEqual([]);
  });

  it.each([
    ["everybody", []],
    ["a user that is none", ["--user", "ada"]],
    ["half a date", ["--started-before", "5"]],
    ["versions of no application", ["--policy-version-below", "3"]],
  ])("cannot sign out %s", async (_case, options) => {
    expect(await continuo("revoke", ...options, "--yes")).toMatchObject({ code: 2, value: undefined });
  });
});
