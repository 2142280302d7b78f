import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createRevokeWhere, SessionFilter } from "./revoke-where.ts";
import { createRevokeWhereStore } from "./revoke-where.store.ts";
import { faultOf, type Person, type SignedIn } from "../person.fixture.ts";
import { startSystem, type System } from "../system.fixture.ts";

let system: System;
beforeAll(async () => {
  system = await startSystem();
});
afterAll(async () => system[Symbol.asyncDispose]());

const isLive = async ({ viewer }: SignedIn): Promise<boolean> => {
  const sql = "SELECT state FROM session.sessions WHERE id = $1";
  return (await system.admin.query<{ state: string }>(sql, [viewer.sessionId])).rows[0]?.state === "ACTIVE";
};
const areLive = (sessions: readonly SignedIn[]): Promise<boolean[]> => Promise.all(sessions.map(isLive));
async function approvedIn(parent: SignedIn, person: Person): Promise<SignedIn> {
  const grant = await system.grant({ sub: person.userId, parent: parent.viewer.sessionId });
  return person.signIn({ grant, platform: "TV" });
}
const SIGN_OUT_SESSION = `mutation ($id: ID!, $andApproved: Boolean!) {
  signOutSession(id: $id, andApproved: $andApproved) { receipt { sessionsEnded } } }`;

describe("ending one session", () => {
  it("ends it alone, or with all that was approved in it, and in those, and tells each whether it was its own doing", async () => {
    const person = system.person();
    const [laptop, phone] = [await person.signIn(), await person.signIn({ platform: "PHONE" })];
    const tv = await approvedIn(phone, person);
    const guest = await approvedIn(tv, person);
    const sessions = [laptop, phone, tv, guest];
    await laptop.data(SIGN_OUT_SESSION, { id: tv.viewer.sessionId, andApproved: false });
    expect(await areLive(sessions)).toEqual([true, true, false, true]);
    expect(await laptop.data(SIGN_OUT_SESSION, { id: phone.viewer.sessionId, andApproved: true })).toEqual({
      signOutSession: { receipt: { sessionsEnded: 2 } },
    });
    expect(await areLive(sessions)).toEqual([true, false, false, false]);
    await laptop.data(SIGN_OUT_SESSION, { id: laptop.viewer.sessionId, andApproved: false });
    const answers = await Promise.all(sessions.map((session) => session.tryRefresh()));
    const [own, ...others] = answers.map(({ errors }) => errors?.[0]?.extensions.details);
    expect(own).toEqual({ endReason: "SIGNED_OUT" });
    expect(others).toEqual(others.map(() => ({ endReason: "SIGNED_OUT_REMOTELY" })));
  });

  it("reaches nobody else's, not even what was approved there", async () => {
    const [mine, theirs] = [await system.person().signIn(), await system.person().signIn()];
    const answer = await mine.graphql(SIGN_OUT_SESSION, { id: theirs.viewer.sessionId, andApproved: true });
    expect(faultOf(answer)).toBe("NOT_FOUND SESSION_NOT_FOUND");
    expect(await isLive(theirs)).toBe(true);
  });
});

describe("signing out everywhere", () => {
  it("ends all sessions, this one included, and raises the epoch that new tokens carry", async () => {
    const person = system.person();
    const sessions = [await person.signIn(), await person.signIn()];
    await sessions[0]?.data("mutation { signOutEverywhere { receipt { sessionsEnded } } }");
    expect(await areLive(sessions)).toEqual([false, false]);
    const sql = "SELECT epoch FROM session.user_heads WHERE user_id = $1";
    expect((await system.admin.query(sql, [person.userId])).rows).toEqual([{ epoch: 1 }]);
    await person.signIn();
  });
});

describe("ending the sessions of others", () => {
  it.each<[string, (target: SignedIn) => [string, Record<string, unknown>]]>([
    [
      "another device",
      (target) => [
        `mutation ($id: ID!) { signOutDevice(id: $id) { receipt { seq } } }`,
        { id: target.viewer.deviceId },
      ],
    ],
    ["all other devices", () => ["mutation { signOutOtherDevices { receipt { seq } } }", {}]],
    ["another session", (target) => [SIGN_OUT_SESSION, { id: target.viewer.sessionId, andApproved: false }]],
    ["everything", () => ["mutation { signOutEverywhere { receipt { seq } } }", {}]],
  ])("asks for a recent sign-in: %s", async (_case, operation) => {
    const person = system.person();
    const [laptop, phone] = [await person.signIn(), await person.signIn()];
    const [query, variables] = operation(phone);
    system.clock.advance(301_000);
    const refused = await laptop.graphql(query, variables);
    expect(faultOf(refused)).toBe("STEP_UP_REQUIRED AUTHENTICATION_TOO_OLD");
    expect(refused.errors?.[0]?.extensions.details).toEqual({ maxAge: 300, acrValues: ["aal1"] });
    expect(await areLive([laptop, phone])).toEqual([true, true]);
    await laptop.tryStepUp(await system.grant({ sub: person.userId }));
    expect(faultOf(await laptop.graphql(query, variables))).toBeUndefined();
    expect(await isLive(phone)).toBe(false);
  });

  it("asks for one too where they are to go together with this one", async () => {
    const laptop = await system.person().signIn();
    const id = laptop.viewer.sessionId;
    system.clock.advance(301_000);
    expect(faultOf(await laptop.graphql(SIGN_OUT_SESSION, { id, andApproved: true }))).toBe(
      "STEP_UP_REQUIRED AUTHENTICATION_TOO_OLD",
    );
    expect(await isLive(laptop)).toBe(true);
    expect(faultOf(await laptop.graphql(SIGN_OUT_SESSION, { id, andApproved: false }))).toBeUndefined();
  });

  it("is not what signing out here is: that asks for nothing", async () => {
    const person = system.person();
    const [one, other] = [await person.signIn(), await person.signIn()];
    system.clock.advance(301_000);
    await one.data("mutation { signOut { receipt { seq } } }");
    await other.data(`mutation ($id: ID!) { signOutDevice(id: $id) { receipt { seq } } }`, {
      id: other.viewer.deviceId,
    });
    expect(await areLive([one, other])).toEqual([false, false]);
  });
});

describe("an operator's filter", () => {
  const revokeWhere = (batches: number[] = []) => {
    const store = createRevokeWhereStore(system.admin);
    const announce = { revoked: async () => undefined, devicesChanged: async () => undefined };
    const revoke = createRevokeWhere({ store, announce, now: () => system.clock.now });
    return (filter: SessionFilter) => revoke(filter, { progress: (ended) => batches.push(ended) });
  };

  it("ends what it names and nothing else, with a row in the log for each user, and says the same before", async () => {
    const country = "IS";
    const people = Array.from({ length: 30 }, () => system.person());
    const named = await Promise.all(people.map((person) => person.signIn({ ipPrefix: "130.208.0.0/24" })));
    const spared = await Promise.all(people.map((person) => person.signIn({ ipPrefix: "193.0.6.0/24" })));
    const filter = SessionFilter.parse({ country });
    const store = createRevokeWhereStore(system.admin);
    expect(await store.count(filter, system.clock.now)).toEqual({
      sessions: 30,
      users: 30,
      applications: { continuo: 30 },
    });
    expect(new Set(await areLive(named))).toEqual(new Set([true]));
    const revoked = await revokeWhere()(filter);
    expect(revoked).toMatchObject({ sessionsEnded: 30, usersConcerned: 30 });
    expect(new Set(await areLive(named))).toEqual(new Set([false]));
    expect(new Set(await areLive(spared))).toEqual(new Set([true]));
    const { rows } = await system.admin.query(
      "SELECT reason, user_id FROM session.revocations WHERE kind = 'FILTER' AND key = $1",
      [JSON.stringify(filter)],
    );
    expect(rows).toHaveLength(30);
    expect(rows[0]).toMatchObject({ reason: "ADMINISTRATOR" });
    expect(await revokeWhere()(filter)).toEqual({
      sessionsEnded: 0,
      usersConcerned: 0,
      lastSeq: null,
      isComplete: true,
    });
  });

  it.each([
    ["started_at", (now: Date) => ({ startedBefore: now }), (now: Date) => [new Date(now.getTime() - 1), now]],
    ["last_active_at", (now: Date) => ({ lastActiveBefore: now }), (now: Date) => [new Date(now.getTime() - 1), now]],
    ["acr", () => ({ acrBelow: "aal2" }), () => ["aal1", "aal2"]],
    ["acr", () => ({ acrBelow: "aal3" }), () => ["aal2", "aal3"]],
    ["country", () => ({ country: "FR" }), () => ["FR", "DE"]],
    ["ip_prefix", () => ({ ipPrefix: "192.0.2.0/24" }), () => ["192.0.2.0/24", "192.0.3.0/24"]],
  ])("by %s names whom it says, and nobody at its very limit", async (column, filterAt, valuesAt) => {
    const [person, stranger] = [system.person(), system.person()];
    const [named, spared, strange] = [await person.signIn(), await person.signIn(), await stranger.signIn()];
    const [theirs, ours] = valuesAt(system.clock.now);
    for (const [{ viewer }, value] of [
      [named, theirs],
      [spared, ours],
      [strange, theirs],
    ] as const)
      await system.admin.query(`UPDATE session.sessions SET ${column} = $2 WHERE id = $1`, [viewer.sessionId, value]);
    const filter = SessionFilter.parse({ userId: person.userId, ...filterAt(system.clock.now) });
    const found = await createRevokeWhereStore(system.admin).list(filter, 10, system.clock.now);
    expect(found.map(({ id }) => id)).toEqual([named.viewer.sessionId]);
  });

  it("by the version of a policy names who is behind it", async () => {
    const person = system.person();
    const { viewer } = await person.signIn();
    const named = async (policyVersionBelow: number): Promise<string[]> => {
      const filter = SessionFilter.parse({ userId: person.userId, applicationId: "continuo", policyVersionBelow });
      return (await createRevokeWhereStore(system.admin).list(filter, 10, system.clock.now)).map(({ id }) => id);
    };
    expect([await named(1), await named(2)]).toEqual([[], [viewer.sessionId]]);
  });

  it("ends an application's sessions and no other's", async () => {
    const person = system.person();
    const [bank, other] = [await person.signIn({ applicationId: "bank" }), await person.signIn()];
    await revokeWhere()({ applicationId: "bank" });
    expect(await areLive([bank, other])).toEqual([false, true]);
  });

  it("stands in the log under the one application or user that it names, else under all of itself", async () => {
    const person = system.person();
    const { userId } = person;
    const kinds: unknown[] = [];
    for (const filter of [{ userId }, { applicationId: "bank" }, { applicationId: "bank", userId }]) {
      await person.signIn({ applicationId: "bank" });
      const { lastSeq } = await revokeWhere()(filter);
      const sql = "SELECT kind, key FROM session.revocations WHERE seq = $1";
      kinds.push((await system.admin.query(sql, [lastSeq])).rows[0]);
    }
    expect(kinds).toEqual([
      { kind: "USER", key: userId },
      { kind: "APPLICATION", key: "bank" },
      { kind: "FILTER", key: JSON.stringify({ applicationId: "bank", userId }) },
    ]);
  });

  it("works in batches that progress, however many sessions a user has", async () => {
    const person = system.person();
    const session = await person.signIn();
    await system.admin.query(
      `INSERT INTO session.sessions (id, user_id, device_id, application_id, origin, acr, amr, auth_time, policy_version,
              idle_seconds, started_at, idle_deadline, absolute_deadline, last_active_at)
       SELECT gen_random_uuid(), s.user_id, s.device_id, s.application_id, s.origin, s.acr, s.amr, s.auth_time,
              s.policy_version, s.idle_seconds, s.started_at, s.idle_deadline, s.absolute_deadline, s.last_active_at
         FROM session.sessions s, generate_series(1, 240) WHERE s.id = $1`,
      [session.viewer.sessionId],
    );
    const batches: number[] = [];
    expect(await revokeWhere(batches)({ userId: person.userId })).toMatchObject({ sessionsEnded: 241 });
    expect(batches).toEqual([100, 200, 241]);
  });

  it("does not concern who signs in while it works, so that it ends; and stops after a batch when told to", async () => {
    const people = Array.from({ length: 3 }, () => system.person());
    await Promise.all(people.map((person) => person.signIn({ applicationId: "bank" })));
    const store = createRevokeWhereStore(system.admin);
    const stopping = new AbortController();
    const later: SignedIn[] = [];
    const told: string[] = [];
    const revoke = createRevokeWhere({
      // Batches of one session.
      store: { ...store, revoke: (filter, _count, ...times) => store.revoke(filter, 1, ...times) },
      announce: {
        revoked: async () => {
          system.clock.advance(1);
          later.push(await system.person().signIn({ applicationId: "bank" }));
        },
        devicesChanged: async (userId) => void told.push(userId),
      },
      now: () => system.clock.now,
    });
    const progress = (): void => stopping.abort();
    expect(await revoke({ applicationId: "bank" }, { progress, signal: stopping.signal })).toMatchObject({
      sessionsEnded: 1,
      isComplete: false,
    });
    system.clock.advance(1);
    expect(await revoke({ applicationId: "bank" })).toMatchObject({ sessionsEnded: 3, isComplete: true });
    expect(await areLive(later)).toEqual([false, true, true, true]);
    // Every affected user is notified.
    expect(new Set(told)).toEqual(new Set([...people.map(({ userId }) => userId), later[0]?.viewer.userId]));
  });

  it.each([
    ["no condition", {}],
    ["a condition that does not exist", { users: "all" }],
    ["a country that is none", { country: "Iceland" }],
    ["half a date", { startedBefore: "5" }],
    ["a version of no application", { policyVersionBelow: 2 }],
  ])("with %s is refused before anything ends", (_case, given) => {
    expect(SessionFilter.safeParse(given).success).toBe(false);
  });
});
