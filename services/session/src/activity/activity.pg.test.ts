import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { decodeJwt } from "jose";
import { z } from "zod";
import { hold, lockWaiters } from "../lock.fixture.ts";
import { faultOf, type SignedIn } from "../person.fixture.ts";
import type { ActivityReport } from "./activity.ts";
import { startSystem, type System } from "../system.fixture.ts";

let system: System;
beforeAll(async () => {
  system = await startSystem();
});
afterAll(async () => system[Symbol.asyncDispose]());

interface Stands {
  readonly lastActive: number;
  readonly idleDeadline: number;
}

/** Milliseconds after the clock's current time. */
async function standOf({ viewer }: SignedIn): Promise<Stands> {
  const { rows } = await system.admin.query<{ last: Date; idle: Date }>(
    "SELECT last_active_at AS last, idle_deadline AS idle FROM session.sessions WHERE id = $1",
    [viewer.sessionId],
  );
  const [row] = rows;
  if (row === undefined) throw new Error("there is no session");
  const now = system.clock.now.getTime();
  return { lastActive: row.last.getTime() - now, idleDeadline: row.idle.getTime() - now };
}

const Grant = z.object({ gid: z.string(), gen: z.number() });
const seen = ({ viewer, tokens }: SignedIn, shiftMs = 0): ActivityReport["seen"][number] => {
  const { gid, gen } = Grant.parse(decodeJwt(tokens.accessToken));
  return { sessionId: viewer.sessionId, at: system.clock.now.getTime() + shiftMs, grantId: gid, generation: gen };
};
const report = async (...entries: Record<string, unknown>[]): Promise<void> => {
  expect(await system.internal("/internal/activity", { seen: entries })).toEqual({ status: 204, body: undefined });
};

describe("activity", () => {
  it("keeps a session from idling out, as long as somebody is there", async () => {
    const bank = await system.person().signIn({ applicationId: "bank" });
    for (let round = 0; round < 5; round += 1) {
      system.clock.advance(5_000);
      await report(seen(bank));
      expect(await standOf(bank)).toEqual({ lastActive: 0, idleDeadline: 6_000 });
    }
    await bank.data("{ viewer { session { id } } }");
  });

  it("does not move the absolute deadline", async () => {
    const bank = await system.person().signIn({ applicationId: "bank" });
    for (let round = 0; round < 12; round += 1) {
      system.clock.advance(5_000);
      await report(seen(bank));
    }
    const answer = await bank.tryRefresh();
    expect(answer.errors?.[0]?.extensions).toMatchObject({
      reason: "SESSION_ENDED",
      details: { endReason: "ABSOLUTE" },
    });
  });

  it("is written at most once a minute, or a quarter of the idle limit", async () => {
    const person = system.person();
    const [bank, laptop] = [await person.signIn({ applicationId: "bank" }), await person.signIn()];
    system.clock.advance(1_499);
    await report(seen(bank), seen(laptop));
    expect((await standOf(bank)).lastActive).toBe(-1_499);
    system.clock.advance(1);
    await report(seen(bank), seen(laptop));
    expect([(await standOf(bank)).lastActive, (await standOf(laptop)).lastActive]).toEqual([0, -1_500]);
    system.clock.advance(58_500);
    await report(seen(laptop));
    expect((await standOf(laptop)).lastActive).toBe(0);
  });

  it("never goes back, never into the future, and counts the latest of several", async () => {
    const laptop = await system.person().signIn();
    system.clock.advance(600_000);
    await report(seen(laptop, 3_600_000), seen(laptop, -300_000));
    expect((await standOf(laptop)).lastActive).toBe(0);
    await report(seen(laptop, -120_000));
    expect((await standOf(laptop)).lastActive).toBe(0);

    const lastSeen = "UPDATE session.devices SET last_seen_at = $2 WHERE id = $1 RETURNING last_seen_at";
    system.clock.advance(600_000);
    // By another session on the same device.
    const { rows } = await system.admin.query(lastSeen, [laptop.viewer.deviceId, system.clock.now]);
    await report(seen(laptop, -300_000));
    expect((await standOf(laptop)).lastActive).toBe(-300_000);
    const device = "SELECT last_seen_at FROM session.devices WHERE id = $1";
    expect((await system.admin.query(device, [laptop.viewer.deviceId])).rows).toEqual(rows);
  });

  it("that waits for another report takes nothing back of what that one said", async () => {
    const laptop = await system.person().signIn();
    const { userId, sessionId } = laptop.viewer;
    system.clock.advance(600_000);
    const head = await hold(system.admin, "SELECT FROM session.user_heads WHERE user_id = $1 FOR UPDATE", [userId]);
    await using _ = head;
    const late = report(seen(laptop, -300_000));
    await lockWaiters(system.admin, 1);
    await laptop.refresh((await laptop.refresh()).refreshToken);
    await system.admin.query("UPDATE session.sessions SET last_active_at = $2 WHERE id = $1", [
      sessionId,
      system.clock.now,
    ]);
    const confirm = "UPDATE session.grants SET confirmed_generation = $2 WHERE session_id = $1";
    await system.admin.query(confirm, [sessionId, 3]);
    await head[Symbol.asyncDispose]();
    await late;
    expect((await standOf(laptop)).lastActive).toBe(0);
    const confirmed = "SELECT confirmed_generation FROM session.grants WHERE session_id = $1";
    expect((await system.admin.query(confirmed, [sessionId])).rows).toEqual([{ confirmed_generation: 3 }]);
  });

  it("wakes no session that has lapsed or ended", async () => {
    const [lapsed, ended] = [await system.person().signIn({ applicationId: "bank" }), await system.person().signIn()];
    await ended.data("mutation { signOut { receipt { seq } } }");
    system.clock.advance(120_000);
    await report(seen(lapsed, -119_000), seen(lapsed), seen(ended));
    expect((await standOf(lapsed)).lastActive).toBe(-120_000);
    expect((await standOf(ended)).lastActive).toBe(-120_000);
    for (const session of [lapsed, ended]) {
      expect(faultOf(await session.graphql("{ viewer { session { id } } }"))).toBe("UNAUTHENTICATED SESSION_ENDED");
    }
  });

  it("shows on the device, to whoever follows its changes", async () => {
    const person = system.person();
    const [phone, laptop] = [await person.signIn(), await person.signIn()];
    system.clock.advance(61_000);
    await report(seen(phone));
    const { deviceChanges } = await laptop.data(
      `{ deviceChanges(since: "2") { to devices { id lastSeenAt sessions { lastActiveAt } } } }`,
    );
    const at = system.clock.now.toISOString();
    expect(deviceChanges).toEqual({
      to: "3",
      devices: [{ id: phone.viewer.deviceId, lastSeenAt: at, sessions: [{ lastActiveAt: at }] }],
    });
  });

  it("confirms no generation that the grant has not reached, nor another session's grant", async () => {
    const [mine, theirs] = [await system.person().signIn(), await system.person().signIn()];
    await report({ ...seen(mine), generation: 7 }, { ...seen(theirs), sessionId: mine.viewer.sessionId });
    const { rows } = await system.admin.query(
      "SELECT confirmed_generation AS confirmed FROM session.grants WHERE session_id = ANY ($1)",
      [[mine.viewer.sessionId, theirs.viewer.sessionId]],
    );
    expect(rows).toEqual([{ confirmed: 0 }, { confirmed: 0 }]);
  });

  it.each([
    ["heads", "session.user_heads", "user_id", 61_000],
    ["grants", "session.grants", "id", 0],
  ] as const)(
    "takes the locks of %s in the order of ids, so that no two reports can wait for each other",
    async (_name, table, key, wait) => {
      const people = await Promise.all(Array.from({ length: 12 }, async () => system.person().signIn()));
      system.clock.advance(wait);
      const idOf = (each: SignedIn): string => (key === "id" ? seen(each).grantId : each.viewer.userId);
      const [lowest, ...others] = people.map(idOf).toSorted();
      // The update moves the row behind all others in the heap, so a scan in physical order reaches it last.
      await system.admin.query(`UPDATE ${table} SET ${key} = ${key} WHERE ${key} = $1`, [lowest]);
      const held = await hold(system.admin, `SELECT FROM ${table} WHERE ${key} = $1 FOR UPDATE`, [lowest]);
      await using _ = held;
      const reported = report(...people.map((each) => seen(each)));
      await lockWaiters(system.admin, 1);
      const { rows } = await system.admin.query(`SELECT FROM ${table} WHERE ${key} = ANY ($1) FOR UPDATE SKIP LOCKED`, [
        others,
      ]);
      expect(rows).toHaveLength(others.length);
      await held[Symbol.asyncDispose]();
      await reported;
    },
  );

  it("of many gateways at once, in any order, settles without a deadlock", async () => {
    const people = await Promise.all(Array.from({ length: 12 }, () => system.person().signIn()));
    for (let round = 0; round < 5; round += 1) {
      system.clock.advance(61_000);
      const entries = people.map((each) => seen(each));
      await Promise.all([
        ...Array.from({ length: 6 }, (_, gateway) => report(...(gateway % 2 === 0 ? entries : entries.toReversed()))),
        ...people.map((each) => each.tryRefresh()),
        people[round]?.data("mutation { signOut { receipt { seq } } }"),
      ]);
    }
    const still = await Promise.all(people.slice(5).map(standOf));
    expect(new Set(still.map(({ lastActive }) => lastActive))).toEqual(new Set([0]));
  });

  it.each([
    { seen: [{ sessionId: "x", at: 1, grantId: "x", generation: 1 }] },
    {
      seen: Array.from({ length: 1_001 }, () => ({
        sessionId: randomUUID(),
        at: 1,
        grantId: randomUUID(),
        generation: 1,
      })),
    },
    {},
  ])("that does not parse is refused: %#", async (body) => {
    expect(await system.internal("/internal/activity", body)).toMatchObject({ status: 400 });
  });
});
