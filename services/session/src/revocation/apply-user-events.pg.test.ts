/** Identity's user events as they may arrive: late, twice, out of order, in the middle of sign-ins. */
import { createLogger } from "@continuo/process";
import type { UserEvent } from "@continuo/signals";
import { decodeJwt } from "jose";
import { Pool } from "pg";
import { v7 as newId } from "uuid";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hold, lockWaiters } from "../lock.fixture.ts";
import { faultOf, type Person, type SignedIn } from "../person.fixture.ts";
import { startSystem, type System } from "../system.fixture.ts";
import { createApplyUserEvents } from "./apply-user-events.jobs.ts";
import { createApplyUserEventsStore } from "./apply-user-events.store.ts";

const opened = new AsyncDisposableStack();
let system: System;
/** Runs the job as a worker would; resolves to the announced log entries. */
let hear: (userId: string, epoch: number, because?: UserEvent["because"]) => Promise<number[]>;
beforeAll(async () => {
  system = opened.use(await startSystem());
  const pool = opened.adopt(new Pool({ connectionString: system.env.DATABASE_URL }), (each) => each.end());
  const store = createApplyUserEventsStore(pool);
  hear = async (userId, epoch, because = "DISABLED") => {
    const announced: number[] = [];
    const handle = createApplyUserEvents({
      store,
      announce: { revoked: async ({ seq }) => void announced.push(seq), devicesChanged: async () => undefined },
      now: () => system.clock.now,
    });
    const context = { jobId: newId(), attempt: 1, signal: new AbortController().signal };
    await handle({ userId, epoch, because }, { ...context, logger: createLogger({ name: "test", level: "silent" }) });
    return announced;
  };
});
afterAll(() => opened.disposeAsync());

const grantOf = ({ userId }: Person, epoch: number): Promise<string> => system.grant({ sub: userId, epoch });
const rows = async (sql: string, userId: string): Promise<unknown[]> => (await system.admin.query(sql, [userId])).rows;
/** The user's epoch as in access tokens: raised whenever all earlier sessions were ended. */
const epochOf = ({ tokens }: SignedIn): unknown => decodeJwt(tokens.accessToken)["uep"];
const live = (userId: string): Promise<unknown[]> =>
  rows("SELECT sign_in_epoch FROM session.sessions WHERE user_id = $1 AND state = 'ACTIVE'", userId);

describe("a user whose password was changed", () => {
  it("goes on with their sessions, and opens none by a sign-in of before", async () => {
    const person = system.person();
    const session = await person.signIn();
    const early = await grantOf(person, 0);
    for (const _ of ["once", "again"]) expect(await hear(person.userId, 1, "PASSWORD_CHANGED")).toEqual([]);
    expect(faultOf(await person.startSession({ grant: early }))).toBe("UNAUTHENTICATED GRANT_INVALID");
    const tokens = await session.refresh();
    await session.refresh(tokens.refreshToken);
    const again = await person.signIn({ grant: await grantOf(person, 1) });
    expect(epochOf(again)).toBe(0);
    const recorded = "SELECT actor_id FROM session.auth_events WHERE user_id = $1 AND type = 'PASSWORD_CHANGED'";
    expect(await rows(recorded, person.userId)).toEqual([{ actor_id: person.userId }]);
    // Disabling ends both sessions.
    await hear(person.userId, 2);
    expect(await live(person.userId)).toEqual([]);
  });
});

describe("a user whose password was changed before anybody here heard that they had been disabled", () => {
  it("is out with what began before that all the same, and each is recorded once it is said again", async () => {
    const person = system.person();
    await person.signIn();
    const back = await person.signIn({ applicationId: "bank", grant: await grantOf(person, 2) });
    expect(await hear(person.userId, 3, "PASSWORD_CHANGED")).toEqual([]);
    expect(await hear(person.userId, 1)).toHaveLength(1);
    expect(await live(person.userId)).toEqual([{ sign_in_epoch: 2 }]);
    await hear(person.userId, 2, "ENABLED");
    for (const _ of ["again", "and again"]) await hear(person.userId, 3, "PASSWORD_CHANGED");
    await back.refresh();
    const types = "SELECT type FROM session.auth_events WHERE user_id = $1 AND type NOT LIKE 'SESSION_%' ORDER BY seq";
    const said = ["USER_DISABLED", "USER_ENABLED", "PASSWORD_CHANGED"].map((type) => ({ type }));
    expect(await rows(types, person.userId)).toEqual(said);
  });
});

describe("a user who was disabled", () => {
  it("has no session any more, in whichever application, and is told why; others go on", async () => {
    const person = system.person();
    const sessions = [await person.signIn(), await person.signIn({ applicationId: "bank" })];
    const over = await person.signIn();
    await system.admin.query("UPDATE session.sessions SET idle_deadline = $2 WHERE id = $1", [
      over.viewer.sessionId,
      system.clock.now,
    ]);
    const bystander = await system.person().signIn();
    expect(await hear(person.userId, 1)).toEqual([expect.any(Number)]);
    expect((await over.tryRefresh()).errors?.[0]?.extensions.details).toEqual({ endReason: "IDLE" });
    for (const session of sessions) {
      const answer = await session.tryRefresh();
      expect(faultOf(answer)).toBe("UNAUTHENTICATED SESSION_ENDED");
      expect(answer.errors?.[0]?.extensions.details).toEqual({ endReason: "USER_DISABLED" });
    }
    await bystander.refresh();
    const log =
      "SELECT kind, reason, actor_id, cardinality(session_ids) AS ended FROM session.revocations WHERE user_id = $1";
    expect(await rows(log, person.userId)).toEqual([
      { kind: "USER", reason: "USER_DISABLED", actor_id: null, ended: 2 },
    ]);
    const events = "SELECT type, count(*)::int FROM session.auth_events WHERE user_id = $1 GROUP BY type ORDER BY type";
    expect(await rows(events, person.userId)).toEqual([
      { type: "SESSION_ENDED", count: 2 },
      { type: "SESSION_STARTED", count: 3 },
      { type: "USER_DISABLED", count: 1 },
    ]);
  });

  it("opens no session by a sign-in of before, whether or not anybody knew of them, and does by one of after", async () => {
    const [known, unknown] = [system.person(), system.person()];
    await known.signIn();
    for (const person of [known, unknown]) {
      const early = await grantOf(person, 0);
      await hear(person.userId, 1);
      expect(faultOf(await person.startSession({ grant: early }))).toBe("UNAUTHENTICATED GRANT_INVALID");
      const back = await person.signIn({ grant: await grantOf(person, 1) });
      expect(epochOf(back)).toBe(1);
      // An earlier sign-in is void for a step-up, too.
      expect(faultOf(await back.tryStepUp(await grantOf(person, 0)))).toBe("UNAUTHENTICATED GRANT_INVALID");
      expect(await live(person.userId)).toEqual([{ sign_in_epoch: 1 }]);
    }
  });

  it("stays out and stays in as it is, when the event comes twice, late or behind a newer one", async () => {
    const person = system.person();
    await person.signIn({ grant: await grantOf(person, 0) });
    // After being enabled again, they sign in before either event has arrived here.
    const back = await person.signIn({ grant: await grantOf(person, 2) });
    expect(await hear(person.userId, 2)).toHaveLength(1);
    for (const epoch of [2, 1]) expect(await hear(person.userId, epoch)).toEqual([]);
    const tokens = await back.refresh();
    expect(await hear(person.userId, 2)).toEqual([]);
    await back.refresh(tokens.refreshToken);
    expect(await live(person.userId)).toEqual([{ sign_in_epoch: 2 }]);
    expect(await hear(person.userId, 3, "DELETED")).toHaveLength(1);
    expect(faultOf(await back.tryRefresh())).toBe("UNAUTHENTICATED SESSION_ENDED");
    const types = "SELECT type FROM session.auth_events WHERE user_id = $1 AND type LIKE 'USER_%' ORDER BY seq";
    expect(await rows(types, person.userId)).toEqual([{ type: "USER_DISABLED" }, { type: "USER_DELETED" }]);
  });

  it("and enabled again has that recorded once, with the disabling where nobody had heard of it", async () => {
    const recorded = (userId: string): Promise<unknown[]> =>
      rows(
        "SELECT type, actor_id FROM session.auth_events WHERE user_id = $1 AND type LIKE 'USER_%' ORDER BY seq",
        userId,
      );
    const [told, untold] = [system.person(), system.person()];
    await hear(told.userId, 1);
    const early = await untold.signIn();
    // They sign in again before any event has arrived here.
    const back = await told.signIn({ grant: await grantOf(told, 2) });
    for (const person of [told, untold]) for (const _ of ["once", "again"]) await hear(person.userId, 2, "ENABLED");
    await back.refresh();
    const endReason = { endReason: "USER_DISABLED" };
    expect((await early.tryRefresh()).errors?.[0]?.extensions.details).toEqual(endReason);
    expect(await hear(untold.userId, 1)).toEqual([]);
    for (const { userId } of [told, untold])
      expect(await recorded(userId)).toEqual([
        { type: "USER_DISABLED", actor_id: null },
        { type: "USER_ENABLED", actor_id: null },
      ]);
    expect(faultOf(await untold.startSession({ grant: await grantOf(untold, 1) }))).toBe(
      "UNAUTHENTICATED GRANT_INVALID",
    );
  });

  it("goes on with nothing that a step-up has made younger", async () => {
    const person = system.person();
    const session = await person.signIn();
    const stepped = await session.tryStepUp(await grantOf(person, 1));
    expect(stepped.errors).toBeUndefined();
    await hear(person.userId, 1);
    expect(await live(person.userId)).toEqual([]);
  });

  it("keeps no session that began while this waited for it", async () => {
    const person = system.person();
    const { viewer } = await person.signIn();
    const starting = await hold(
      system.admin,
      `WITH head AS (UPDATE session.user_heads SET device_rev = device_rev + 1 WHERE user_id = $1)
       INSERT INTO session.sessions
       SELECT (jsonb_populate_record(s, jsonb_build_object('id', $3::uuid))).* FROM session.sessions AS s WHERE s.id = $2`,
      [person.userId, viewer.sessionId, newId()],
    );
    await using _ = starting;
    const heard = hear(person.userId, 1);
    await lockWaiters(system.admin, 1);
    await starting[Symbol.asyncDispose]();
    await heard;
    expect(await live(person.userId)).toEqual([]);
  });

  it("keeps no session that began at the same moment, whoever is first", async () => {
    const person = system.person();
    const grants = await Promise.all(Array.from({ length: 30 }, (_, turn) => grantOf(person, turn % 3 === 0 ? 1 : 0)));
    const answers = await Promise.all([
      ...grants.slice(0, 15).map((grant) => person.startSession({ grant })),
      hear(person.userId, 1).then(() => undefined),
      ...grants.slice(15).map((grant) => person.startSession({ grant })),
    ]);
    const faults = new Set(answers.map((answer) => answer && faultOf(answer)));
    expect([...faults].filter((fault) => fault !== undefined && fault !== "UNAUTHENTICATED GRANT_INVALID")).toEqual([]);
    const left = await live(person.userId);
    expect(left.length).toBeGreaterThan(0);
    expect(left).toEqual(left.map(() => ({ sign_in_epoch: 1 })));
  });
});
