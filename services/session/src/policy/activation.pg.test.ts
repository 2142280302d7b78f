import { AccessTokenClaims, acrSuffices } from "@continuo/access";
import fc from "fast-check";
import { decodeJwt } from "jose";
import { Pool } from "pg";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { z } from "zod";
import { WorkerEnv } from "../env.ts";
import { hold, lockWaiters } from "../lock.fixture.ts";
import { faultOf, tokensIn, type Person, type SignedIn } from "../person.fixture.ts";
import { startSystem, type System } from "../system.fixture.ts";
import { startWorkers } from "../worker-app.ts";
import { createActivation, type Activation, type ActivationEnd, type ActivationStore } from "./activation.ts";
import { createActivationStore, FORECAST, FORESEEN, LOCK_BEHIND, MOVE } from "./activation.store.ts";
import type { PolicyRules } from "./policy.ts";
import { draftRules, newApplication, populate, sketches, type Sketch } from "../population.fixture.ts";

let system: System;
let pool: Pool;
let store: ActivationStore;
let activation: Activation;
const announced: { revoked: number[]; users: string[] } = { revoked: [], users: [] };
beforeAll(async () => {
  system = await startSystem();
  pool = new Pool({ connectionString: system.env.DATABASE_URL });
  pool.on("connect", (client) => client.on("error", () => undefined));
  store = createActivationStore(pool);
  activation = createActivation({
    store,
    announce: {
      revoked: async ({ seq }) => void announced.revoked.push(seq),
      devicesChanged: async (userId) => void announced.users.push(userId),
    },
    now: () => system.clock.now,
  });
});
afterAll(async () => {
  await pool.end();
  await system[Symbol.asyncDispose]();
});

const rowsOf = async (text: string, values: unknown[] = []): Promise<Record<string, unknown>[]> =>
  (await system.admin.query<Record<string, unknown>>(text, values)).rows;

const LOOSE = { idleSeconds: 90, absoluteSeconds: 150 };
const rules: PolicyRules = {
  ...LOOSE,
  accessTokenSeconds: 60,
  maxSessions: 100,
  atLimit: "EVICT_OLDEST",
  requiredAcr: null,
  deviceBinding: "NONE",
  stepUpSeconds: 300,
  persistence: true,
  posture: "STRICT",
};

interface Fate {
  readonly ends: ActivationEnd | null;
  /** Seconds from now; null when it ends. */
  readonly remaining: number | null;
}

/** What should become of each session, in plain words instead of SQL; undefined for those that are over already. */
function fatesOf(sessions: readonly Sketch[], draft: PolicyRules, ids: readonly string[]): (Fate | undefined)[] {
  const atMost = ({ approved = Infinity }: Sketch): number => approved;
  const signedInAgo = ({ startedAgo, authAgo }: Sketch): number => Math.min(startedAgo, authAgo);
  const left = (each: Sketch, { idleSeconds, absoluteSeconds }: typeof LOOSE, most: number): [number, number] => [
    idleSeconds - each.activeAgo,
    Math.min(absoluteSeconds - signedInAgo(each), most),
  ];
  const isLive = (each: Sketch): boolean => Math.min(...left(each, LOOSE, atMost(each))) > 0;
  const next = sessions.map((each) => {
    const former = left(each, LOOSE, atMost(each))[1];
    const [idle, absolute] = left(each, draft, each.approved === undefined ? Infinity : former).map((s) =>
      Math.max(s, 0),
    );
    return { idle: idle ?? 0, absolute: absolute ?? 0 };
  });
  const staying = (each: Sketch, index: number): boolean => {
    const deadlines = next[index];
    return isLive(each) && deadlines !== undefined && Math.min(deadlines.idle, deadlines.absolute) > 0;
  };
  return sessions.map((each, index) => {
    const deadlines = next[index];
    if (!isLive(each) || deadlines === undefined) return undefined;
    const remaining = Math.min(deadlines.idle, deadlines.absolute);
    if (remaining === 0) return { ends: deadlines.idle < deadlines.absolute ? "IDLE" : "ABSOLUTE", remaining: null };
    const newer = sessions.filter(
      (other, place) =>
        other.user === each.user &&
        staying(other, place) &&
        (other.startedAgo < each.startedAgo ||
          (other.startedAgo === each.startedAgo && (ids[place] ?? "") > (ids[index] ?? ""))),
    );
    return newer.length >= draft.maxSessions ? { ends: "EVICTED", remaining: null } : { ends: null, remaining };
  });
}

/** How the sessions stand in the database. */
async function standing(ids: readonly string[]): Promise<Record<string, unknown>[]> {
  return rowsOf(
    `SELECT s.state, s.end_reason AS reason, s.policy_version AS version, g.state AS grant, s.ended_at AS "endedAt",
            extract(epoch FROM least(s.idle_deadline, s.absolute_deadline) - $2::timestamptz)::float8 AS remaining,
            (SELECT count(*)::int FROM session.revocations AS r WHERE s.id = ANY (r.session_ids)) AS logged,
            (SELECT count(*)::int FROM session.auth_events AS e
              WHERE e.session_id = s.id AND e.type = 'SESSION_ENDED') AS noted
       FROM unnest($1::uuid[]) WITH ORDINALITY AS asked (id, place)
       JOIN session.sessions AS s USING (id) JOIN session.grants AS g ON g.session_id = s.id ORDER BY asked.place`,
    [ids, system.clock.now],
  );
}

/** What differs afterwards in the row of a session: nothing when it was over already. */
function rowAfter(fate: Fate | undefined, version: number): Record<string, unknown> {
  if (fate === undefined) return {};
  if (fate.ends === null) return { version, remaining: fate.remaining };
  return {
    version,
    state: fate.ends === "EVICTED" ? "REVOKED" : "EXPIRED",
    reason: fate.ends,
    grant: "REVOKED",
    endedAt: system.clock.now,
    remaining: expect.any(Number),
    logged: 1,
    noted: 1,
  };
}

const endsOf = (fates: readonly (Fate | undefined)[]): Record<ActivationEnd, number> => {
  const count = (reason: ActivationEnd): number => fates.filter((fate) => fate?.ends === reason).length;
  return { IDLE: count("IDLE"), ABSOLUTE: count("ABSOLUTE"), EVICTED: count("EVICTED") };
};

describe("what a dry run foresees", () => {
  it("is what activation then does, session by session, whatever the population and the rules", async () => {
    await fc.assert(
      fc.asyncProperty(sketches, draftRules(), async (sessions, changes) => {
        const applicationId = await newApplication(system.admin, LOOSE);
        const { ids } = await populate(system.admin, applicationId, sessions, system.clock.now);
        const draft = { ...rules, ...changes };
        const fates = fatesOf(sessions, draft, ids);

        const { version } = await activation.draft(applicationId, draft);
        const forecast = await activation.tryPolicy(applicationId, draft);
        const { rows: foreseen } = await pool.query(`WITH ${FORESEEN} SELECT id, ends FROM judged`, [
          applicationId,
          system.clock.now,
          draft.idleSeconds,
          draft.absoluteSeconds,
          draft.maxSessions,
        ]);
        const before = await standing(ids);
        const { ended, moved } = await activation.activate(applicationId, version);
        const after = await standing(ids);

        const live = fates.filter((fate) => fate !== undefined);
        expect(forecast).toMatchObject({
          sessions: live.length,
          ends: endsOf(fates),
          needStepUp: fates.filter(
            (fate, index) => fate?.ends === null && !acrSuffices(sessions[index]?.acr ?? "", draft.requiredAcr),
          ).length,
        });
        expect(foreseen).toHaveLength(live.length);
        expect(Object.fromEntries(foreseen.map(({ id, ends }) => [id, ends]))).toEqual(
          Object.fromEntries(ids.flatMap((id, index) => (fates[index] ? [[id, fates[index].ends]] : []))),
        );
        expect({ ended, moved }).toEqual({ ended: endsOf(fates), moved: live.length });
        expect(after).toEqual(before.map((row, index) => ({ ...row, ...rowAfter(fates[index], version) })));
      }),
      { numRuns: 40 },
    );
  });

  it("says how remaining lives change, and whom it would touch", async () => {
    const applicationId = await newApplication(system.admin, LOOSE);
    const sketch = { startedAgo: 20, authAgo: 20, acr: "aal1", approved: undefined };
    const sessions = [0, 10, 20, 20].map((activeAgo, index) => ({ ...sketch, user: Math.min(index, 2), activeAgo }));
    await populate(system.admin, applicationId, sessions, system.clock.now);
    expect(await activation.tryPolicy(applicationId, { ...rules, idleSeconds: 15, requiredAcr: "aal2" })).toEqual({
      applicationId,
      at: system.clock.now,
      sessions: 4,
      users: 3,
      ends: { IDLE: 2, ABSOLUTE: 0, EVICTED: 0 },
      usersSignedOut: 1,
      needStepUp: 2,
      remainingSeconds: { median: { from: 75, to: 2.5 }, p95: { from: 88.5, to: expect.closeTo(13.5) } },
    });
  });

  it("is read from an application without sessions, and not from none", async () => {
    const applicationId = await newApplication(system.admin, LOOSE);
    expect(await activation.tryPolicy(applicationId, rules)).toMatchObject({ sessions: 0, remainingSeconds: null });
    await expect(activation.tryPolicy("nowhere", rules)).rejects.toMatchObject({ reason: "APPLICATION_NOT_FOUND" });
  });

  it("leaves every row as it was", async () => {
    const applicationId = await newApplication(system.admin, LOOSE);
    const sketch = { startedAgo: 20, authAgo: 20, activeAgo: 20, acr: "aal1", approved: undefined };
    const { ids } = await populate(system.admin, applicationId, [{ ...sketch, user: 0 }], system.clock.now);
    const everything = async (): Promise<unknown> =>
      rowsOf(
        `SELECT (SELECT json_agg(s) FROM session.sessions AS s WHERE s.id = ANY ($1)) AS sessions,
                (SELECT json_agg(p ORDER BY version) FROM session.policies AS p WHERE application_id = $2) AS policies,
                (SELECT seq FROM session.revocation_head) AS seq, (SELECT sum(device_rev) FROM session.user_heads) AS revs`,
        [ids, applicationId],
      );
    const before = await everything();
    await activation.tryPolicy(applicationId, { ...rules, idleSeconds: 1 });
    expect(await everything()).toEqual(before);
  });
});

describe("a version", () => {
  it("is drafted, replaced under a new number, activated, and then never again", async () => {
    const applicationId = await newApplication(system.admin, LOOSE);
    const first = await activation.draft(applicationId, { ...rules, idleSeconds: 10 });
    const second = await activation.draft(applicationId, { ...rules, idleSeconds: 20 });
    expect([first.version, second.version]).toEqual([2, 3]);
    await expect(activation.activate(applicationId, 2)).rejects.toMatchObject({ reason: "POLICY_NOT_FOUND" });
    await activation.activate(applicationId, 3);
    expect(
      (await activation.list(applicationId)).map(({ version, state, idleSeconds }) => [version, state, idleSeconds]),
    ).toEqual([
      [3, "ACTIVE", 20],
      [1, "RETIRED", 90],
    ]);
    await expect(activation.activate(applicationId, 1)).rejects.toMatchObject({ reason: "POLICY_RETIRED" });
    expect(await activation.activate(applicationId, 3)).toMatchObject({ users: 0, moved: 0 });
    await expect(activation.draft("nowhere", rules)).rejects.toMatchObject({ reason: "APPLICATION_NOT_FOUND" });
  });

  it("of many drafted and activated at once is in force alone", async () => {
    const applicationId = await newApplication(system.admin, LOOSE);
    await Promise.all(
      Array.from({ length: 8 }, async () => {
        const { version } = await activation.draft(applicationId, rules);
        await activation.activate(applicationId, version).catch(() => undefined);
      }),
    );
    const states = (await activation.list(applicationId)).map(({ state }) => state);
    expect(states.filter((state) => state === "ACTIVE")).toHaveLength(1);
    expect(states[0]).not.toBe("RETIRED");
  });

  it("governs the next sign-in at once, and who was signed in is told of the new end", async () => {
    const applicationId = await newApplication(system.admin, LOOSE);
    const person = system.person();
    const former = await person.signIn({ applicationId });
    const { version } = await activation.draft(applicationId, {
      ...rules,
      idleSeconds: 30,
      stepUpSeconds: 60,
      persistence: false,
    });
    announced.users.length = 0;
    await activation.activate(applicationId, version);
    expect(announced.users).toEqual([person.userId]);
    const { deviceChanges } = await former.data(`{ deviceChanges(since: "1") { to devices { id } } }`);
    expect(deviceChanges).toEqual({ to: "2", devices: [{ id: former.viewer.deviceId }] });
    const next = await person.signIn({ applicationId });
    for (const { accessToken } of [await former.refresh(), next.tokens])
      expect(decodeJwt(accessToken)).toMatchObject({ step_up: 60 });
    for (const each of [former, next]) {
      const { viewer } = await each.data(
        "{ viewer { session { expiresAt expiresBecause policy { version idleSeconds mayPersist } } } }",
      );
      expect(viewer).toEqual({
        session: {
          expiresAt: new Date(system.clock.now.getTime() + 30_000).toISOString(),
          expiresBecause: "IDLE",
          policy: { version, idleSeconds: 30, mayPersist: false },
        },
      });
    }
    // From then on, activity moves it by the new rule as well.
    system.clock.advance(10_000);
    const at = system.clock.now.getTime();
    const seen = [former, next].map(({ tokens }) => {
      const { sid, gid, gen } = AccessTokenClaims.parse(decodeJwt(tokens.accessToken));
      return { sessionId: sid, grantId: gid, generation: gen, at };
    });
    expect(await system.internal("/internal/activity", { seen })).toMatchObject({ status: 204 });
    const deadline = { idle_deadline: new Date(at + 30_000) };
    expect(
      await rowsOf("SELECT idle_deadline FROM session.sessions WHERE application_id = $1", [applicationId]),
    ).toEqual([deadline, deadline]);
  });

  it("that asks for more sends its sessions to sign in again, and ends those over its limit with the reason", async () => {
    const applicationId = await newApplication(system.admin, LOOSE);
    const person = system.person();
    const oldest = await person.signIn({ applicationId });
    system.clock.advance(1_000);
    const newest = await person.signIn({ applicationId });
    const { version } = await activation.draft(applicationId, { ...rules, maxSessions: 1, requiredAcr: "aal2" });
    await activation.activate(applicationId, version);
    expect(faultOf(await newest.tryRefresh())).toBe("STEP_UP_REQUIRED ACR_TOO_LOW");
    const refused = await oldest.tryRefresh();
    expect(refused.errors?.[0]?.extensions).toMatchObject({
      reason: "SESSION_ENDED",
      details: { endReason: "EVICTED" },
    });
    expect(announced.revoked.at(-1)).toBeGreaterThan(0);
  });
});

describe("a version that asks for a key", () => {
  it("has sessions without one sign in again, which binds them; a dry run has counted those, and no others", async () => {
    const applicationId = await newApplication(system.admin, LOOSE);
    const person = system.person();
    const keyless = await person.signIn({ applicationId });
    const bound = await person.signIn({ applicationId, jkt: `bound-${applicationId}` });
    const draft = { ...rules, deviceBinding: "DPOP" as const };
    expect(await activation.tryPolicy(applicationId, rules)).toMatchObject({ sessions: 2, needStepUp: 0 });
    expect(await activation.tryPolicy(applicationId, draft)).toMatchObject({ sessions: 2, needStepUp: 1 });
    const { version } = await activation.draft(applicationId, draft);
    expect(await activation.activate(applicationId, version)).toMatchObject({ moved: 2 });

    expect(faultOf(await bound.tryRefresh(bound.tokens.refreshToken, `bound-${applicationId}`))).toBeUndefined();
    // A proof alone binds nothing: whoever stole the token has a key, too.
    const key = `key-${applicationId}`;
    for (const jkt of [undefined, key]) {
      const refused = await keyless.tryRefresh(keyless.tokens.refreshToken, jkt);
      expect(faultOf(refused)).toBe("STEP_UP_REQUIRED KEY_REQUIRED");
      expect(refused.errors?.[0]?.extensions.details).toEqual({ acrValues: ["aal1"] });
    }
    const { refreshToken } = keyless.tokens;
    const grant = await system.grant({ sub: person.userId });
    expect(faultOf(await keyless.tryStepUp(grant, refreshToken))).toBe("UNAUTHENTICATED DPOP_REQUIRED");
    const stepped = tokensIn(await keyless.tryStepUp(grant, refreshToken, key), "stepUp");
    expect(stepped).toMatchObject({ tokenType: "DPoP", session: { id: keyless.viewer.sessionId } });
    expect(faultOf(await keyless.tryRefresh(stepped.refreshToken))).toBe("UNAUTHENTICATED DPOP_REQUIRED");
    expect(tokensIn(await keyless.tryRefresh(stepped.refreshToken, key)).tokenType).toBe("DPoP");
    expect(await activation.tryPolicy(applicationId, draft)).toMatchObject({ sessions: 2, needStepUp: 0 });
    expect(
      await rowsOf(
        `SELECT d.jkt, (SELECT array_agg(e.type ORDER BY e.seq) FROM session.auth_events AS e
                         WHERE e.session_id = $2 AND e.type <> 'SESSION_STARTED') AS events
           FROM session.devices AS d WHERE d.id = $1`,
        [keyless.viewer.deviceId, keyless.viewer.sessionId],
      ),
    ).toEqual([{ jkt: key, events: ["DEVICE_KEY_BOUND", "STEPPED_UP"] }]);
  });

  it("is tried on the grants in use alone: a key that a former one of a session was bound to helps nobody", async () => {
    const applicationId = await newApplication(system.admin, LOOSE);
    const [person, jkt] = [system.person(), `in-use-${applicationId}`];
    const [keyless, bound] = [await person.signIn({ applicationId }), await person.signIn({ applicationId, jkt })];
    await system.admin.query(
      `INSERT INTO session.grants (id, session_id, key_id, salt, rotated_at, state, jkt)
       SELECT gen_random_uuid(), g.session_id, g.key_id, g.salt, g.rotated_at, 'REVOKED', CASE WHEN g.jkt IS NULL THEN $2 END
         FROM session.grants AS g WHERE g.session_id = ANY ($1)`,
      [[keyless, bound].map(({ viewer }) => viewer.sessionId), jkt],
    );
    const draft = { ...rules, deviceBinding: "DPOP" as const };
    expect(await activation.tryPolicy(applicationId, draft)).toMatchObject({ sessions: 2, needStepUp: 1 });
    await activation.activate(applicationId, (await activation.draft(applicationId, draft)).version);
    expect(faultOf(await keyless.tryRefresh(keyless.tokens.refreshToken, jkt))).toBe("STEP_UP_REQUIRED KEY_REQUIRED");
    expect(faultOf(await bound.tryRefresh(bound.tokens.refreshToken, jkt))).toBeUndefined();
  });
});

describe("a sign-out", () => {
  /** An application whose access tokens live that long, others before. */
  async function applicationWith(...lives: number[]): Promise<string> {
    const applicationId = await newApplication(system.admin, { idleSeconds: 10_000, absoluteSeconds: 10_000 });
    for (const accessTokenSeconds of lives) await follow(applicationId, { accessTokenSeconds });
    return applicationId;
  }
  async function follow(applicationId: string, changes: Partial<PolicyRules>, ms = 120_000): Promise<void> {
    const draft = { ...rules, idleSeconds: 10_000, absoluteSeconds: 10_000, ...changes };
    await activation.activate(applicationId, (await activation.draft(applicationId, draft)).version);
    system.clock.advance(ms);
  }
  const SignOut = z.object({
    reason: z.string(),
    requestedAt: z.coerce.date(),
    lockedOutAt: z.coerce.date().nullable(),
    effectiveBy: z.coerce.date(),
  });
  const Devices = z.object({
    devices: z.object({ nodes: z.array(z.object({ id: z.string(), signOut: SignOut.nullable() })) }),
  });
  /** What the owner of a device is told of its sign-out, and seconds from it until its last token is refused everywhere. */
  async function toldOf(laptop: SignedIn, { viewer: { deviceId } }: SignedIn): Promise<Record<string, unknown>> {
    const { viewer } = await laptop.data(
      "{ viewer { devices { nodes { id signOut { reason requestedAt lockedOutAt effectiveBy } } } } }",
    );
    const told = Devices.parse(viewer).devices.nodes.find(({ id }) => id === deviceId)?.signOut;
    if (!told) throw new Error("the device was signed out");
    const { reason, lockedOutAt, requestedAt, effectiveBy } = told;
    return { reason, lockedOutAt, effectiveAfter: (effectiveBy.getTime() - requestedAt.getTime()) / 1_000 };
  }
  async function effectiveAfter(person: Person, device: SignedIn): Promise<unknown> {
    const laptop = await person.signIn();
    const id = device.viewer.deviceId;
    await laptop.data("mutation ($id: ID!) { signOutDevice(id: $id) { receipt { seq } } }", { id });
    return (await toldOf(laptop, device))["effectiveAfter"];
  }

  it("is effective when the last token is past its life, be it of the version before: not of one from before the session", async () => {
    const applicationId = await applicationWith(900);
    const person = system.person();
    const former = await person.signIn({ applicationId });
    expect(AccessTokenClaims.parse(decodeJwt(former.tokens.accessToken)).exp).toBeGreaterThan(
      system.clock.now.getTime() / 1_000 + 800,
    );
    await follow(applicationId, { accessTokenSeconds: 60 });
    await follow(applicationId, { accessTokenSeconds: 90 });
    const later = await person.signIn({ applicationId });
    await follow(applicationId, { accessTokenSeconds: 80 });
    expect(await effectiveAfter(person, former)).toBe(900);
    expect(await effectiveAfter(person, later)).toBe(90);
  });

  it("counts a version that was over a minute at most before the session began: clocks disagree", async () => {
    for (const [ms, life] of [
      [60_000, 900],
      [60_001, 90],
    ] as const) {
      const [person, applicationId] = [system.person(), await applicationWith(900)];
      await follow(applicationId, { accessTokenSeconds: 90 }, ms);
      expect(await effectiveAfter(person, await person.signIn({ applicationId }))).toBe(life);
    }
  });

  it("is effective for all applications on the device, and no later than they would have ended anyway", async () => {
    const [brief, long] = [await applicationWith(60), await applicationWith(900)];
    const person = system.person();
    for (const [first, second] of [
      [brief, long],
      [long, brief],
    ] as const) {
      const phone = await person.signIn({ applicationId: first });
      await person.signIn({ applicationId: second, deviceId: phone.viewer.deviceId });
      expect(await effectiveAfter(person, phone)).toBe(900);
    }
    await follow(long, { accessTokenSeconds: 900, idleSeconds: 500 });
    expect(await effectiveAfter(person, await person.signIn({ applicationId: long }))).toBe(500);
  });

  it("by a version that brings the deadline forward is not effective before the tokens of the former are past their life", async () => {
    const applicationId = await applicationWith(900);
    const person = system.person();
    const [ends, stays] = [await person.signIn({ applicationId }), await person.signIn({ applicationId })];
    system.clock.advance(60_000);
    const { sid, gid, gen } = AccessTokenClaims.parse(decodeJwt(stays.tokens.accessToken));
    const seen = [{ sessionId: sid, grantId: gid, generation: gen, at: system.clock.now.getTime() }];
    expect(await system.internal("/internal/activity", { seen })).toMatchObject({ status: 204 });
    await follow(applicationId, { accessTokenSeconds: 60, idleSeconds: 59 }, 50_000);
    expect(await toldOf(await person.signIn(), ends)).toEqual({
      reason: "IDLE",
      lockedOutAt: null,
      effectiveAfter: 900,
    });
    expect(await effectiveAfter(person, stays)).toBe(900);
  });
});

describe("an activation that is cut short", () => {
  const sketch = { startedAgo: 20, authAgo: 20, acr: "aal1", approved: undefined };
  const crowd: Sketch[] = Array.from({ length: 30 }, (_, index) => ({
    ...sketch,
    user: index % 10,
    activeAgo: index % 20,
  }));
  const draft: PolicyRules = { ...rules, idleSeconds: 10, maxSessions: 1 };

  it("is finished by the next, to the same end", async () => {
    const applicationId = await newApplication(system.admin, LOOSE);
    const { ids } = await populate(system.admin, applicationId, crowd, system.clock.now);
    const { version } = await activation.draft(applicationId, draft);
    await store.flip(applicationId, version, system.clock.now);
    expect(await store.move(applicationId, system.clock.now, 4)).toMatchObject({
      users: expect.any(Number),
    });
    await activation.finish(AbortSignal.abort());
    expect(await store.behind(system.clock.now)).toEqual([applicationId]);
    await activation.finish();
    expect(await store.behind(system.clock.now)).toEqual([]);
    const fates = fatesOf(crowd, draft, ids);
    expect((await standing(ids)).map(({ reason }) => reason)).toEqual(fates.map((fate) => fate?.ends ?? null));
  });

  it("in the middle of a batch leaves that batch undone, and nothing is done twice", async () => {
    const applicationId = await newApplication(system.admin, LOOSE);
    const { ids, users } = await populate(system.admin, applicationId, crowd, system.clock.now);
    const { version } = await activation.draft(applicationId, draft);
    const held = await hold(system.admin, "SELECT FROM session.revocation_head WHERE id = 1 FOR UPDATE");
    await using _ = held;
    const cut = activation.activate(applicationId, version).then(
      () => "done",
      () => "cut",
    );
    await lockWaiters(system.admin, 1);
    await system.admin.query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()",
    );
    expect(await cut).toBe("cut");
    await held[Symbol.asyncDispose]();
    expect(new Set((await standing(ids)).map(({ version }) => version))).toEqual(new Set([1]));
    expect(await activation.list(applicationId)).toMatchObject([{ version, state: "ACTIVE" }, { state: "RETIRED" }]);

    const { DATABASE_URL, MASTER_KEY } = system.env;
    const env = WorkerEnv.parse({
      LOG_LEVEL: "silent",
      DATABASE_URL,
      MASTER_KEY: MASTER_KEY[0].toString("base64url"),
      JOBS: "apply-policies",
    });
    await using _worker = await startWorkers(env, { now: () => system.clock.now });
    await vi.waitFor(async () => expect(await store.behind(system.clock.now)).toEqual([]), {
      timeout: 60_000,
      interval: 50,
    });
    const after = await standing(ids);
    expect(after.map(({ reason }) => reason)).toEqual(fatesOf(crowd, draft, ids).map((fate) => fate?.ends ?? null));
    expect(after.every(({ logged, noted, state }) => logged === noted && logged === (state === "ACTIVE" ? 0 : 1))).toBe(
      true,
    );
    expect(
      await rowsOf("SELECT FROM session.revocations WHERE user_id = ANY ($1) AND kind <> 'APPLICATION'", [users]),
    ).toEqual([]);
  });

  it("locks its people in the order of ids, as whoever else changes many", async () => {
    const applicationId = await newApplication(system.admin, LOOSE);
    const people = Array.from({ length: 12 }, () => system.person());
    for (const person of people) await person.signIn({ applicationId });
    const { version } = await activation.draft(applicationId, rules);
    await store.flip(applicationId, version, system.clock.now);
    const [lowest, ...others] = people.map(({ userId }) => userId).toSorted();
    // The update moves the row behind all others in the heap, so a scan in physical order reaches it last.
    await system.admin.query("UPDATE session.user_heads SET user_id = user_id WHERE user_id = $1", [lowest]);
    const held = await hold(system.admin, "SELECT FROM session.user_heads WHERE user_id = $1 FOR UPDATE", [lowest]);
    await using _ = held;
    const moved = store.move(applicationId, system.clock.now, 100);
    await lockWaiters(system.admin, 1);
    const free = "SELECT FROM session.user_heads WHERE user_id = ANY ($1) FOR UPDATE SKIP LOCKED";
    expect(await rowsOf(free, [others])).toHaveLength(others.length);
    await held[Symbol.asyncDispose]();
    expect(await moved).toMatchObject({ users: 12, moved: 12 });
  });

  it("is not waited for by a step-up, which follows the version in force at once", async () => {
    const applicationId = await newApplication(system.admin, LOOSE);
    const person = system.person();
    const phone = await person.signIn({ applicationId });
    const { version } = await activation.draft(applicationId, { ...rules, idleSeconds: 20 });
    await store.flip(applicationId, version, system.clock.now);
    const { accessToken } = tokensIn(await phone.tryStepUp(await system.grant({ sub: person.userId })), "stepUp");
    system.clock.advance(10_000);
    const { sid, gid, gen } = AccessTokenClaims.parse(decodeJwt(accessToken));
    const at = system.clock.now.getTime();
    const seen = [{ sessionId: sid, grantId: gid, generation: gen, at }];
    expect(await system.internal("/internal/activity", { seen })).toMatchObject({ status: 204 });
    const { viewer } = await phone.data("{ viewer { session { expiresAt policy { version } } } }");
    expect(viewer).toEqual({ session: { expiresAt: new Date(at + 20_000).toISOString(), policy: { version } } });
  });

  it("catches up with a sign-in that had read the former version", async () => {
    const applicationId = await newApplication(system.admin, LOOSE);
    const person = system.person();
    await person.signIn({ applicationId });
    const held = await hold(system.admin, "SELECT FROM session.user_heads WHERE user_id = $1 FOR UPDATE", [
      person.userId,
    ]);
    await using _ = held;
    const late = person.signIn({ applicationId });
    await lockWaiters(system.admin, 1);
    const { version } = await activation.draft(applicationId, { ...rules, maxSessions: 1 });
    const activated = activation.activate(applicationId, version);
    await lockWaiters(system.admin, 2);
    await held[Symbol.asyncDispose]();
    await Promise.all([late, activated]);
    await activation.finish();
    const { viewer } = await (await late).data("{ viewer { session { state policy { version } } } }");
    expect(viewer).toEqual({ session: { state: "ACTIVE", policy: { version } } });
    expect(
      await rowsOf("SELECT FROM session.sessions WHERE user_id = $1 AND state = 'ACTIVE'", [person.userId]),
    ).toHaveLength(1);
  });
});

it("among many sessions of others, neither a dry run nor an activation reads theirs", async () => {
  const [few, many] = [await newApplication(system.admin, LOOSE), await newApplication(system.admin, LOOSE)];
  const sketch = { startedAgo: 20, authAgo: 20, activeAgo: 5, acr: "aal1", approved: undefined };
  const make = (count: number): Sketch[] => Array.from({ length: count }, (_, user) => ({ ...sketch, user }));
  await populate(system.admin, many, make(5_000), system.clock.now);
  const { users } = await populate(system.admin, few, make(200), system.clock.now);
  await system.admin.query("ANALYZE session.sessions");
  const { version } = await activation.draft(few, rules);
  await store.flip(few, version, system.clock.now);

  const planOf = async (text: string, values: unknown[]): Promise<string> => {
    const rows = await rowsOf(`EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) ${text}`, values);
    return rows.map((row) => row["QUERY PLAN"]).join("\n");
  };
  const { now } = system.clock;
  for (const plan of [
    await planOf(FORECAST, [few, now, 60, 60, 1, null, "DPOP"]),
    await planOf(LOCK_BEHIND, [few, now, 100]),
    await planOf(MOVE, [few, now, users]),
  ]) {
    expect(plan).not.toMatch(/Seq Scan on sessions/);
    expect(plan).toMatch(/sessions_application_idx/);
    for (const [, rows = ""] of plan.matchAll(/on sessions .*?rows=([\d.]+)/g))
      expect(Number(rows)).toBeLessThanOrEqual(200);
    for (const [, rows = ""] of plan.matchAll(/Rows Removed by Filter: (\d+)/g))
      expect(Number(rows)).toBeLessThanOrEqual(200);
  }
});
