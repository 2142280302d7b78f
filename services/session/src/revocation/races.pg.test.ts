import { Pool } from "pg";
import { v4 as randomId } from "uuid";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { hold, lockWaiters } from "../lock.fixture.ts";
import { faultOf, type SignedIn } from "../person.fixture.ts";
import { startSystem, type System } from "../system.fixture.ts";
import { createRevocationJobsStore } from "./jobs.store.ts";
import { createRevokeWhereStore } from "./revoke-where.store.ts";

let system: System;
let pool: Pool;
beforeAll(async () => {
  system = await startSystem({ poolSize: 20 });
  await system.addWebhook();
  pool = new Pool({ connectionString: system.env.DATABASE_URL });
});
afterAll(async () => {
  await pool.end();
  await system[Symbol.asyncDispose]();
});

const rowsOf = async (text: string, values: unknown[] = []): Promise<Record<string, unknown>[]> =>
  (await system.admin.query<Record<string, unknown>>(text, values)).rows;
const Page = z.object({ revocations: z.array(z.object({ seq: z.number() })) });
const stateOf = async ({ viewer }: SignedIn): Promise<unknown> =>
  (await rowsOf("SELECT state FROM session.sessions WHERE id = $1", [viewer.sessionId]))[0]?.["state"];
/** Whatever earlier tests left in the application whose sessions end soonest. */
const clearBank = (): Promise<unknown> =>
  createRevokeWhereStore(pool).revoke({ applicationId: "bank" }, 100, system.clock.now, system.clock.now);
const SIGN_OUT_OTHERS = "mutation { signOutOtherDevices { receipt { seq sessionsEnded } } }";

describe("two revocations at once", () => {
  it("end each session once, with one row in the log, one event and one job", async () => {
    const person = system.person();
    const laptop = await person.signIn();
    const others = await Promise.all(Array.from({ length: 6 }, () => person.signIn()));
    await Promise.all([
      ...Array.from({ length: 4 }, () => laptop.graphql(SIGN_OUT_OTHERS)),
      ...others.map(({ viewer }) =>
        laptop.graphql("mutation ($id: ID!) { signOutDevice(id: $id) { receipt { seq } } }", { id: viewer.deviceId }),
      ),
      createRevokeWhereStore(pool).revoke(
        { userId: person.userId, sessionId: others[0]?.viewer.sessionId },
        1,
        system.clock.now,
        system.clock.now,
      ),
    ]);
    const rows = await rowsOf(
      `SELECT s.state,
              (SELECT count(*)::int FROM session.revocations AS r WHERE s.id = ANY (r.session_ids)) AS logged,
              (SELECT count(*)::int FROM session.auth_events AS e
                WHERE e.session_id = s.id AND e.type = 'SESSION_ENDED') AS noted,
              (SELECT count(*)::int FROM session.revocations AS r
                 JOIN session.outbox AS o ON o.topic = 'fan-out-revocation' AND o.payload -> 'seqs' @> to_jsonb(r.seq)
                WHERE s.id = ANY (r.session_ids)) AS posted
         FROM session.sessions AS s WHERE s.user_id = $1 AND s.id <> $2`,
      [person.userId, laptop.viewer.sessionId],
    );
    expect(rows).toEqual(others.map(() => ({ state: "REVOKED", logged: 1, noted: 1, posted: 1 })));
    expect(await stateOf(laptop)).toBe("ACTIVE");
  });

  it("by two devices that sign each other out leave one of them: who was quicker", async () => {
    const person = system.person();
    const [one, other] = [await person.signIn(), await person.signIn()];
    const head = await hold(system.admin, "SELECT FROM session.user_heads WHERE user_id = $1 FOR UPDATE", [
      person.userId,
    ]);
    await using _ = head;
    // Two processes have decided to start both; only their commits are pending.
    const replica = await system.replica({});
    const answers = [
      one.graphql(SIGN_OUT_OTHERS),
      replica.graphql({ kind: "viewer", viewer: other.viewer }, SIGN_OUT_OTHERS),
    ];
    await lockWaiters(system.admin, 2);
    await head[Symbol.asyncDispose]();
    const faults = (await Promise.all(answers)).map(faultOf);
    expect(new Set(faults)).toEqual(new Set(["UNAUTHENTICATED SESSION_ENDED", undefined]));
    const states = [await stateOf(one), await stateOf(other)];
    expect(states).toEqual(faults.map((fault) => (fault === undefined ? "ACTIVE" : "REVOKED")));
  });
});

describe("expiry", () => {
  it("writes what a sign-out writes: but for who did it, and why, nobody can tell them apart", async () => {
    const person = system.person();
    const [laptop, byHand] = [await person.signIn(), await person.signIn({ applicationId: "bank" })];
    const byTime = await system.person().signIn({ applicationId: "bank" });
    await laptop.data("mutation ($id: ID!) { signOutSession(id: $id) { receipt { seq } } }", {
      id: byHand.viewer.sessionId,
    });
    system.clock.advance(6_001);
    await createRevocationJobsStore(pool).expire(system.clock.now, 10);
    const traces = async ({ viewer: { sessionId, deviceId } }: SignedIn): Promise<unknown> =>
      rowsOf(
        `SELECT r.kind, r.key = $1::text AS "isKey", r.user_id = s.user_id AS "isTheirs", r.session_ids = ARRAY[$1::uuid] AS "isAlone", r.restores,
                r.at = s.ended_at AS "isThen", r.reason = s.end_reason AS "isWhy", r.actor_id IS NOT DISTINCT FROM s.ended_by AS "isWho",
                g.state AS "grant", d.rev = h.device_rev AS "isNews",
                o.topic, o.payload = jsonb_build_object('seqs', jsonb_build_array(r.seq)) AS "isPosted", o.due_at, o.created_at = r.at AS "isPostedThen",
                e.type, e.device_id = $2::uuid AS "isDevice", e.at = r.at AS "isNotedThen",
                e.detail = jsonb_build_object('reason', r.reason, 'seq', r.seq) AS "isNoted"
           FROM session.sessions AS s
           LEFT JOIN session.revocations AS r ON s.id = ANY (r.session_ids)
           LEFT JOIN session.grants AS g ON g.session_id = s.id
           LEFT JOIN session.devices AS d ON d.id = s.device_id
           LEFT JOIN session.user_heads AS h ON h.user_id = s.user_id
           LEFT JOIN session.outbox AS o ON o.payload -> 'seqs' @> to_jsonb(r.seq)
           LEFT JOIN session.auth_events AS e ON e.session_id = s.id AND e.type = 'SESSION_ENDED'
          WHERE s.id = $1::uuid`,
        [sessionId, deviceId],
      );
    const expired = await traces(byTime);
    expect(expired).toEqual(await traces(byHand));
    expect(expired).toEqual([
      expect.objectContaining({ kind: "SESSION", isAlone: true, grant: "REVOKED", isPosted: true, isNoted: true }),
    ]);
  });

  it("spares a session whose deadline moved while it came to it", async () => {
    await clearBank();
    const session = await system.person().signIn({ applicationId: "bank" });
    const { sessionId } = session.viewer;
    system.clock.advance(5_999);
    const moving = await hold(
      system.admin,
      "UPDATE session.sessions SET idle_deadline = idle_deadline + interval '1 minute' WHERE id = $1",
      [sessionId],
    );
    await using _ = moving;
    system.clock.advance(2);
    const expiring = createRevocationJobsStore(pool).expire(system.clock.now, 10);
    await lockWaiters(system.admin, 1);
    await moving[Symbol.asyncDispose]();
    expect(await expiring).toMatchObject({ ended: 0, logged: null });
    expect(await stateOf(session)).toBe("ACTIVE");
    await session.data("{ viewer { session { id } } }");
  });
});

describe("the order of the log", () => {
  it("is that of commits, which a sequence's is not: there a reader passes over what commits late", async () => {
    await system.admin.query("CREATE TABLE public.bare_log (seq bigserial PRIMARY KEY)");
    const slow = await hold(system.admin, "INSERT INTO public.bare_log DEFAULT VALUES");
    await using _ = slow;
    await system.admin.query("INSERT INTO public.bare_log DEFAULT VALUES");
    // A reader that continues after 2 never sees 1.
    expect(await rowsOf("SELECT seq FROM public.bare_log ORDER BY seq")).toEqual([{ seq: "2" }]);
    await slow[Symbol.asyncDispose]();
    await system.admin.query("DROP TABLE public.bare_log");
  });

  it("shows a reader no gap, whatever commits at the same moment", async () => {
    const people = await Promise.all(Array.from({ length: 24 }, () => system.person().signIn()));
    const [start] = await rowsOf("SELECT seq FROM session.revocation_head");
    const from = Number(start?.["seq"]);
    let working = true;
    const tail = (async () => {
      const seen: number[] = [];
      for (let last = false; !last;) {
        last = !working;
        const { body } = await system.internal("/internal/revocations", {
          replica: "tail",
          after: seen.at(-1) ?? from,
          acks: [],
        });
        seen.push(...Page.parse(body).revocations.map(({ seq }) => seq));
      }
      return seen;
    })();
    await Promise.all(people.map((each) => each.data("mutation { signOut { receipt { seq } } }")));
    working = false;
    expect(await tail).toEqual(people.map((_, index) => from + 1 + index));
  });
});

/** A person with many sessions, whose grants lie unordered in the heap, the lowest id last. */
async function crowd(count: number): Promise<{ laptop: SignedIn; userId: string; grantIds: [string, ...string[]] }> {
  const person = system.person();
  const [laptop, phone] = [await person.signIn(), await person.signIn({ applicationId: "bank" })];
  const sessionIds = Array.from({ length: count }, () => randomId());
  await system.admin.query(
    `INSERT INTO session.sessions
     SELECT (jsonb_populate_record(s, jsonb_build_object('id', copy))).* FROM session.sessions AS s, unnest($2::uuid[]) AS copy
      WHERE s.id = $1`,
    [phone.viewer.sessionId, sessionIds],
  );
  await system.admin.query(
    `INSERT INTO session.grants (id, session_id, key_id, salt, rotated_at)
     SELECT id, id, 1, '\\x00', now() FROM unnest($1::uuid[]) AS id`,
    [sessionIds],
  );
  const [lowest = "", ...others] = sessionIds.toSorted();
  await system.admin.query("UPDATE session.grants SET salt = '\\x01' WHERE id = $1", [lowest]);
  return { laptop, userId: person.userId, grantIds: [lowest, ...others] };
}

describe("the locks of grants", () => {
  it.each<[string, (laptop: SignedIn) => Promise<unknown>]>([
    ["a sign-out", (laptop) => laptop.data(SIGN_OUT_OTHERS)],
    [
      "expiry",
      () => {
        system.clock.advance(6_001);
        return createRevocationJobsStore(pool).expire(system.clock.now, 40);
      },
    ],
    [
      "an operator",
      ({ viewer: { userId } }) => {
        const { now } = system.clock;
        return createRevokeWhereStore(pool).revoke({ userId, applicationId: "bank" }, 40, now, now);
      },
    ],
  ])(
    "are taken in the order of ids by %s, as by reports of activity: so neither waits for the other",
    async (_who, end) => {
      const { laptop, grantIds } = await crowd(12);
      const [lowest, ...others] = grantIds;
      const held = await hold(system.admin, "SELECT FROM session.grants WHERE id = $1 FOR UPDATE", [lowest]);
      await using _ = held;
      const ended = end(laptop);
      await lockWaiters(system.admin, 1);
      const free = await rowsOf("SELECT FROM session.grants WHERE id = ANY ($1) FOR UPDATE SKIP LOCKED", [others]);
      expect(free).toHaveLength(others.length);
      await held[Symbol.asyncDispose]();
      await ended;
      expect(await rowsOf("SELECT DISTINCT state FROM session.grants WHERE id = ANY ($1)", [grantIds])).toEqual([
        { state: "REVOKED" },
      ]);
    },
  );
});

describe("the locks of people", () => {
  it("are taken in the order of ids by an operator, so that two can work at once", async () => {
    await clearBank();
    const people = await Promise.all(
      Array.from({ length: 24 }, () => system.person().signIn({ applicationId: "bank" })),
    );
    const [lowest = "", ...others] = people.map(({ viewer }) => viewer.userId).toSorted();
    const held = await hold(system.admin, "SELECT FROM session.user_heads WHERE user_id = $1 FOR UPDATE", [lowest]);
    await using _ = held;
    const { now } = system.clock;
    const store = createRevokeWhereStore(pool);
    const both = [1, 2].map(() => store.revoke({ applicationId: "bank" }, 40, now, now));
    await lockWaiters(system.admin, 2);
    const free = await rowsOf("SELECT FROM session.user_heads WHERE user_id = ANY ($1) FOR UPDATE SKIP LOCKED", [
      others,
    ]);
    expect(free).toHaveLength(others.length);
    await held[Symbol.asyncDispose]();
    const ended = (await Promise.all(both)).map((batch) => batch.ended);
    expect(ended.toSorted((a, b) => a - b)).toEqual([0, 24]);
  });
});
