import { randomUUID } from "node:crypto";
import { Pool, type PoolClient } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { faultOf, type Person, type SignedIn } from "../person.fixture.ts";
import { createRevocationJobsStore } from "../revocation/jobs.store.ts";
import { startSystem, type System } from "../system.fixture.ts";
import { createAuditStore } from "./audit.store.ts";
import type { Place } from "./chain.ts";
import { compareWithHead, verifyUser } from "./verification.ts";

const DAY_MS = 24 * 3_600_000;

let system: System;
/** With the service's own role. */
let pool: Pool;
beforeAll(async () => {
  system = await startSystem();
  pool = new Pool({ connectionString: system.env.DATABASE_URL, max: 20 });
});
afterAll(async () => {
  await pool.end();
  await system[Symbol.asyncDispose]();
});

const Page = z.object({
  viewer: z.object({
    securityEvents: z.object({
      totalCount: z.number(),
      pageInfo: z.object({ endCursor: z.string().nullable(), hasNextPage: z.boolean() }),
      nodes: z.array(z.record(z.string(), z.unknown())),
    }),
  }),
});
type EventPage = z.infer<typeof Page>["viewer"]["securityEvents"];

async function eventsOf(session: SignedIn, first = 50, after: string | null = null): Promise<EventPage> {
  const query = `query ($first: Int!, $after: String) { viewer { securityEvents(first: $first, after: $after) {
    totalCount pageInfo { endCursor hasNextPage }
    nodes { place at type byOwner reason device { id } session { id } application { name } } } } }`;
  return Page.parse(await session.data(query, { first, after })).viewer.securityEvents;
}

const typesOf = async (userId: string): Promise<string[]> =>
  (
    await system.admin.query<{ type: string }>("SELECT type FROM session.auth_events WHERE user_id = $1 ORDER BY seq", [
      userId,
    ])
  ).rows.map(({ type }) => type);

const insert = (connection: Pool | PoolClient, userId: string, at = system.clock.now): Promise<unknown> =>
  connection.query("INSERT INTO session.auth_events (user_id, at, type) VALUES ($1, $2, 'DEVICE_RENAMED')", [
    userId,
    at,
  ]);

const verdictOf = (userId: string) => verifyUser(createAuditStore(pool), userId);

describe("a person", () => {
  it("sees what happened to their sessions, the newest first, page by page, and nobody else's", async () => {
    const person = system.person();
    const phone = await person.signIn({ platform: "PHONE" });
    const laptop = await person.signIn();
    await system.person().signIn();
    const phoneId = phone.viewer.deviceId;
    await laptop.data(`mutation ($id: ID!) { renameDevice(id: $id, name: "Mine") { id } }`, { id: phoneId });
    await phone.data("mutation { signOut { receipt { seq } } }");

    const at = system.clock.now.toISOString();
    const [onPhone, onLaptop] = [phone, laptop].map(({ viewer }) => ({
      at,
      device: { id: viewer.deviceId },
      session: { id: viewer.sessionId },
    }));
    const plain = { byOwner: true, reason: null, application: null };
    const started = { type: "SESSION_STARTED", byOwner: true, application: { name: "Continuo" }, reason: null };
    const { nodes, totalCount } = await eventsOf(laptop);
    expect(totalCount).toBe(4);
    expect(nodes).toMatchObject([
      { ...onPhone, ...plain, place: 4, type: "SESSION_ENDED", reason: "SIGNED_OUT" },
      { ...onLaptop, ...plain, place: 3, type: "DEVICE_RENAMED", device: { id: phoneId } },
      { ...onLaptop, ...started, place: 2 },
      { ...onPhone, ...started, place: 1 },
    ]);

    const front = await eventsOf(laptop, 3);
    expect(front.pageInfo.hasNextPage).toBe(true);
    const rest = await eventsOf(laptop, 3, front.pageInfo.endCursor);
    expect([...front.nodes, ...rest.nodes]).toEqual(nodes);
    expect(rest.pageInfo.hasNextPage).toBe(false);
    const junk = await laptop.graphql(`{ viewer { securityEvents(after: "junk") { totalCount } } }`);
    expect(faultOf(junk)).toBe("BAD_USER_INPUT CURSOR_INVALID");
  });
});

describe("an event and what it tells of", () => {
  /** While it is held, no event of this type can be written. */
  async function refusing<Result>(type: string, work: () => Promise<Result>): Promise<Result> {
    await system.admin.query(`
      CREATE FUNCTION refuse_event() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN IF NEW.type = '${type}' THEN RAISE EXCEPTION 'no event'; END IF; RETURN NEW; END $$;
      CREATE TRIGGER refuse_event BEFORE INSERT ON session.auth_events FOR EACH ROW EXECUTE FUNCTION refuse_event()`);
    try {
      return await work();
    } finally {
      await system.admin.query("DROP FUNCTION refuse_event CASCADE");
    }
  }
  const isRefused = async (answer: ReturnType<Person["startSession"]>): Promise<void> =>
    expect(faultOf(await answer)).toBe("INTERNAL_SERVER_ERROR UNEXPECTED");
  const expire = () => createRevocationJobsStore(pool).expire(system.clock.now, 1);

  it("are one commit at sign-in", async () => {
    const person = system.person();
    await refusing("SESSION_STARTED", () => isRefused(person.startSession()));
    const { rows } = await system.admin.query("SELECT FROM session.sessions WHERE user_id = $1", [person.userId]);
    expect(rows).toEqual([]);
    await person.signIn();
    expect(await typesOf(person.userId)).toEqual(["SESSION_STARTED"]);
  });

  it("are one commit at sign-out and at a device's new name", async () => {
    const person = system.person();
    const phone = await person.signIn();
    await refusing("SESSION_ENDED", () => isRefused(phone.graphql("mutation { signOut { receipt { seq } } }")));
    await refusing("DEVICE_RENAMED", () =>
      isRefused(
        phone.graphql(`mutation ($id: ID!) { renameDevice(id: $id, name: "Mine") { id } }`, {
          id: phone.viewer.deviceId,
        }),
      ),
    );
    expect(await phone.data("{ viewer { device { name } } }")).toEqual({
      viewer: { device: { name: "Firefox on Linux" } },
    });
    expect(await typesOf(person.userId)).toEqual(["SESSION_STARTED"]);
    await phone.data("mutation { signOut { receipt { seq } } }");
    expect(await typesOf(person.userId)).toEqual(["SESSION_STARTED", "SESSION_ENDED"]);
  });

  it("are one commit when a deadline is written down", async () => {
    const person = system.person();
    const phone = await person.signIn({ applicationId: "bank" });
    system.clock.advance(61_000);
    const stateOf = async (): Promise<unknown> =>
      (await system.admin.query("SELECT state FROM session.sessions WHERE id = $1", [phone.viewer.sessionId])).rows[0];
    await refusing("SESSION_ENDED", () => expect(expire()).rejects.toThrow("no event"));
    expect(await stateOf()).toEqual({ state: "ACTIVE" });
    await expire();
    expect(await stateOf()).toEqual({ state: "EXPIRED" });
    expect(await typesOf(person.userId)).toEqual(["SESSION_STARTED", "SESSION_ENDED"]);
  });
});

describe("the chain", () => {
  it("is whole when fifty events of one person are written at once", async () => {
    const userId = randomUUID();
    await Promise.all(Array.from({ length: 50 }, () => insert(pool, userId)));
    expect(await verdictOf(userId)).toEqual({ checked: 50 });
  });

  it("takes no part of a transaction that was rolled back", async () => {
    const userId = randomUUID();
    await insert(pool, userId);
    const client = await pool.connect();
    await client.query("BEGIN");
    await insert(client, userId);
    await client.query("ROLLBACK");
    client.release();
    await insert(pool, userId);
    expect(await verdictOf(userId)).toEqual({ checked: 2 });
  });

  it("gives place and hash itself, whatever the service's role claims", async () => {
    const userId = randomUUID();
    await insert(pool, userId);
    await pool.query(
      `INSERT INTO session.auth_events (user_id, at, type, seq, record, hash) VALUES ($1, now(), 'STEPPED_UP', 1, '{}', '')`,
      [userId],
    );
    expect(await verdictOf(userId)).toEqual({ checked: 2 });
  });

  it("cannot be changed or shortened by the service's role, nor by hand", async () => {
    const userId = randomUUID();
    await insert(pool, userId);
    const statements = [
      "UPDATE session.auth_events SET type = 'STEPPED_UP'",
      "DELETE FROM session.auth_events",
      "TRUNCATE session.auth_events",
    ];
    for (const sql of [
      ...statements,
      "UPDATE session.auth_chains SET base_seq = seq",
      "DELETE FROM session.auth_chains",
      "INSERT INTO session.auth_chains (user_id, seq, hash) VALUES (gen_random_uuid(), 9, '')",
      "ALTER TABLE session.auth_events DISABLE TRIGGER ALL",
    ]) {
      await expect(pool.query(sql)).rejects.toMatchObject({ code: "42501" });
    }
    for (const sql of statements) {
      await expect(system.admin.query(sql)).rejects.toThrow("append-only");
    }
    expect(await verdictOf(userId)).toEqual({ checked: 1 });
  });

  it("is not the one of a head that is ahead of it: the database is one of before, or the chain has been taken away", async () => {
    const store = createAuditStore(pool);
    const userId = randomUUID();
    await insert(pool, userId);
    const [kept] = await store.ends([userId]);
    const ahead = { seq: 2, hash: kept?.head.hash ?? Buffer.alloc(0) };
    expect(await compareWithHead(store, { userId, head: ahead })).toBe("DIFFERS");
    expect(await compareWithHead(store, { userId: randomUUID(), head: ahead })).toBe("DIFFERS");
  });
});

describe("retention", () => {
  const daysAgo = (days: number): Date => new Date(Date.now() - days * DAY_MS);
  const prune = async (before: Date, batch = 2_000): Promise<unknown> =>
    (await pool.query("SELECT session.prune_auth_events($1, $2) AS pruned", [before, batch])).rows[0]?.pruned;

  it("forgets from the front, batch by batch, and what is left is whole", async () => {
    const userId = randomUUID();
    for (const days of [500, 480, 450, 420, 410, 300, 0]) await insert(pool, userId, daysAgo(days));
    expect(await prune(daysAgo(400), 2)).toBe(2);
    expect(await verdictOf(userId)).toEqual({ checked: 5 });
    expect(await prune(daysAgo(400), 2)).toBe(2);
    expect(await prune(daysAgo(400), 2)).toBe(1);
    expect(await prune(daysAgo(400), 2)).toBe(0);
    expect(await verdictOf(userId)).toEqual({ checked: 2 });
    await insert(pool, userId);
    expect(await verdictOf(userId)).toEqual({ checked: 3 });
    const { totalCount, events } = await createAuditStore(pool).page(userId, 50, null);
    expect([totalCount, ...events.map(({ seq }) => seq)]).toEqual([3, 8, 7, 6]);
  });

  it("never forgets behind an event that stays, and nothing of the last year, whoever asks", async () => {
    const [late, young] = [randomUUID(), randomUUID()];
    for (const days of [500, 10, 500]) await insert(pool, late, daysAgo(days));
    for (const days of [360, 200]) await insert(pool, young, daysAgo(days));
    expect(await prune(new Date("9999-01-01"))).toBe(1);
    expect(await verdictOf(late)).toEqual({ checked: 2 });
    expect(await verdictOf(young)).toEqual({ checked: 2 });
  });

  it("goes on with the chain of somebody whose events are all forgotten", async () => {
    const userId = randomUUID();
    for (const days of [500, 490]) await insert(pool, userId, daysAgo(days));
    expect(await prune(daysAgo(400))).toBe(2);
    expect(await verdictOf(userId)).toEqual({ checked: 0 });
    await insert(pool, userId);
    expect(await verdictOf(userId)).toEqual({ checked: 1 });
  });

  it("shows when its mark of the beginning was moved, or more was deleted than it says", async () => {
    const userId = randomUUID();
    for (const days of [500, 490, 0]) await insert(pool, userId, daysAgo(days));
    await system.admin.query("UPDATE session.auth_chains SET base_seq = 2 WHERE user_id = $1", [userId]);
    await system.admin.query("DELETE FROM session.auth_events WHERE user_id = $1 AND seq <= 2", [userId]);
    expect(await verdictOf(userId)).toEqual({ checked: 0, firstBreak: { seq: 3, problem: "HASH_DIFFERS" } });
  });

  it("leaves a head of before to be compared with for as long as its event, or the mark of the beginning, is there", async () => {
    const store = createAuditStore(pool);
    const userId = randomUUID();
    const heads: Place[] = [];
    for (const days of [500, 490, 20, 0]) {
      await insert(pool, userId, daysAgo(days));
      heads.push(...(await store.ends([userId])).map(({ head }) => head));
    }
    expect(await prune(daysAgo(400))).toBe(2);
    const compare = (head: Place): Promise<string> => compareWithHead(store, { userId, head });
    expect(await Promise.all(heads.map(compare))).toEqual(["FORGOTTEN", "SAME", "SAME", "SAME"]);
    const others = heads.map(({ seq }) => ({ seq, hash: Buffer.alloc(32) }));
    expect(await Promise.all(others.map(compare))).toEqual(["FORGOTTEN", "DIFFERS", "DIFFERS", "DIFFERS"]);
  });

  it("is worked on by two at once without a break", async () => {
    const people = Array.from({ length: 20 }, () => randomUUID());
    await Promise.all(people.flatMap((userId) => [450, 440, 430].map((days) => insert(pool, userId, daysAgo(days)))));
    const pruned = await Promise.all(Array.from({ length: 4 }, () => prune(daysAgo(400), 30)));
    expect(pruned.reduce<number>((sum, each) => sum + Number(each), 0)).toBeLessThanOrEqual(60);
    while (Number(await prune(daysAgo(400))) > 0);
    for (const userId of people) expect(await verdictOf(userId)).toEqual({ checked: 0 });
  });
});
