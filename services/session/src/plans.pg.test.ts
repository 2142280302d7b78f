/**
 * What Postgres reads for a request when its statistics say that all sessions have ended: only what is asked for, never
 * all live ones.
 */
import { inTransaction } from "@continuo/database";
import { Pool, type PoolClient, type QueryConfig } from "pg";
import { expect, it, onTestFinished, vi } from "vitest";
import { newApplication, populate } from "./population.fixture.ts";
import { createApplyUserEventsStore } from "./revocation/apply-user-events.store.ts";
import { createFeedStore } from "./revocation/feed.store.ts";
import { createRevocationJobsStore } from "./revocation/jobs.store.ts";
import { startSystem } from "./system.fixture.ts";

const TABLES = ["sessions", "devices", "grants", "user_heads"];
const PEOPLE = 1_000;
/** More row reads than any request below needs; a row counts each time that it is read. */
const FEW = 100;

/** $1 tables: how many of their rows this transaction has read. */
const ROWS_READ = `
SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::int AS read FROM pg_stat_xact_user_tables
 WHERE schemaname = 'session' AND relname = ANY ($1::text[])`;

/**
 * Counts from now on the rows that each named statement reads, with generic plans, and with sequential scans
 * discouraged, which small tables would otherwise get.
 */
function countRowsRead(): ReadonlyMap<string, number> {
  const counted = new Map<string, number>();
  const rowsRead = async (client: PoolClient): Promise<number> => {
    const { rows } = await client.query<{ read: number }>(ROWS_READ, [TABLES]);
    return rows[0]?.read ?? 0;
  };
  const counting = vi.spyOn(Pool.prototype, "query").mockImplementation(function (
    this: Pool,
    query: string | QueryConfig,
    values?: unknown[],
  ): unknown {
    return inTransaction(this, async (client) => {
      await client.query("SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL enable_seqscan = off");
      const before = await rowsRead(client);
      const answer = await client.query(query, values);
      const name = typeof query === "string" ? query : (query.name ?? query.text);
      counted.set(name, Math.max(counted.get(name) ?? 0, (await rowsRead(client)) - before));
      return answer;
    });
  });
  onTestFinished(() => counting.mockRestore());
  return counted;
}

it.each([
  ["many people", (each: number) => each],
  ["one person", () => 0],
])("no request reads all live sessions, though Postgres knows of ended ones of %s alone", async (_name, userOf) => {
  await using system = await startSystem();
  const { admin, clock } = system;
  const applicationId = await newApplication(admin, { idleSeconds: 1_000, absoluteSeconds: 1_000 });
  const sketch = { startedAgo: 1, authAgo: 1, activeAgo: 1, acr: "aal1", approved: undefined };
  const populateWith = (user: (each: number) => number): Promise<unknown> =>
    populate(
      admin,
      applicationId,
      Array.from({ length: PEOPLE }, (_, each) => ({ ...sketch, user: user(each) })),
      clock.now,
    );
  // Keep autovacuum from refreshing the statistics meanwhile.
  for (const table of TABLES) await admin.query(`ALTER TABLE session.${table} SET (autovacuum_enabled = off)`);
  await populateWith(userOf);
  await admin.query("UPDATE session.sessions SET state = 'REVOKED', ended_at = now(), end_reason = 'SIGNED_OUT'");
  await admin.query("ANALYZE");
  await populateWith((each) => each);

  const counted = countRowsRead();
  const person = system.person();
  const [phone, laptop] = [await person.signIn({ jkt: "key" }), await person.signIn()];
  await laptop.data("{ viewer { devices(first: 10) { edges { node { id isSignedIn sessions { id } } } } } }");
  await laptop.data("{ viewer { device { sessions { id } } } }");
  await laptop.data(
    "{ viewer { devices { nodes { sessions(ended: true) { id } } } } deviceChanges { devices { isSignedIn } } }",
  );
  await laptop.data('mutation ($id: ID!) { renameDevice(id: $id, name: "Mine") { isSignedIn } }', {
    id: laptop.viewer.deviceId,
  });
  await laptop.refresh();
  await laptop.tryStepUp(await system.grant({ sub: person.userId }));
  clock.advance(61_000);
  const { sessionId } = laptop.viewer;
  await system.internal("/internal/activity", {
    seen: [{ sessionId, at: clock.now.getTime(), grantId: sessionId, generation: 1 }],
  });
  await laptop.data("mutation ($id: ID!) { signOutDevice(id: $id) { receipt { seq } } }", {
    id: phone.viewer.deviceId,
  });
  await laptop.data('mutation { undoSignOut(seq: "2") { receipt { seq } notRestored { reason } } }');
  await createRevocationJobsStore(admin).deliver([2], clock.now);
  await createApplyUserEventsStore(admin).end({
    userId: person.userId,
    epoch: 1,
    type: "USER_DISABLED",
    reason: "USER_DISABLED",
    now: clock.now,
  });
  const tablet = await system.person().signIn();
  await tablet.data("mutation ($form: String!) { answerOAuth(endpoint: REVOCATION, form: $form) { status } }", {
    form: `client_id=continuo&token=${tablet.tokens.refreshToken}`,
  });
  await createFeedStore(admin).acknowledge("gateway", [{ seq: 2, socketsClosed: 0 }], clock.now);

  const read = ["sessions-by-ids", "sessions-by-devices", "live-sessions", "device-pages", "device-changes"];
  const written = ["start-session", "rename-device", "advance-grants", "step-up", "record-activity"];
  const ended = [
    "revoke",
    "revoke-presented",
    "undo-sign-out",
    "deliver-revocation",
    "apply-user-events",
    "acknowledge-revocations",
  ];
  expect([...counted.keys()]).toEqual(expect.arrayContaining([...read, ...written, ...ended]));
  expect([...counted].filter(([, rows]) => rows > FEW)).toEqual([]);
});
