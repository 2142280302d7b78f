/** How Postgres finds sessions when it takes all of them for ended: by what is asked for, and never by reading all that live. */
import { Client, Pool } from "pg";
import { expect, it, onTestFinished, vi } from "vitest";
import { z } from "zod";
import { newApplication, populate } from "./population.fixture.ts";
import { createFeedStore } from "./revocation/feed.store.ts";
import { createRevocationJobsStore } from "./revocation/jobs.store.ts";
import { startSystem } from "./system.fixture.ts";

/** As EXPLAIN (FORMAT JSON) says it. */
interface Node {
  readonly "Node Type": string;
  readonly "Relation Name"?: string | undefined;
  readonly "Index Name"?: string | undefined;
  readonly "Index Cond"?: string | undefined;
  readonly Plans?: readonly Node[] | undefined;
}
const Node: z.ZodType<Node> = z.lazy(() =>
  z.object({
    "Node Type": z.string(),
    "Relation Name": z.string().optional(),
    "Index Name": z.string().optional(),
    "Index Cond": z.string().optional(),
    Plans: z.array(Node).optional(),
  }),
);
const Explained = z.tuple([z.object({ "QUERY PLAN": z.tuple([z.object({ Plan: Node })]) })]);
const Statement = z.object({ name: z.string(), text: z.string() });

const allOf = (node: Node): Node[] => [node, ...(node.Plans ?? []).flatMap(allOf)];
/** Of a bitmap, the scan of the index names the index alone. That a session is live says nothing of whose it is. */
const readsAll = (node: Node): boolean =>
  /^(Seq|Index|Index Only|Bitmap Index) Scan$/.test(node["Node Type"]) &&
  (node["Relation Name"] === "sessions" || node["Index Name"]?.startsWith("sessions_") === true) &&
  [undefined, "(ended_at IS NULL)"].includes(node["Index Cond"]);

it("no request reads all live sessions, though Postgres believed that there are none", async () => {
  await using stack = new AsyncDisposableStack();
  const system = stack.use(await startSystem());
  const { admin, clock, env } = system;
  const applicationId = await newApplication(admin, { idleSeconds: 1_000, absoluteSeconds: 1_000 });
  const sketch = { startedAgo: 1, authAgo: 1, activeAgo: 1, acr: "aal1", approved: undefined };
  const people = Array.from({ length: 1_000 }, (_, user) => ({ ...sketch, user }));
  await populate(admin, applicationId, people, clock.now);
  await admin.query("UPDATE session.sessions SET state = 'REVOKED', ended_at = now(), end_reason = 'SIGNED_OUT'");
  await admin.query("ANALYZE");

  const sent = vi.spyOn(Pool.prototype, "query");
  onTestFinished(() => sent.mockRestore());
  const person = system.person();
  const [phone, laptop] = [await person.signIn(), await person.signIn()];
  await laptop.data("{ viewer { devices(first: 10) { edges { node { id isSignedIn sessions { id } } } } } }");
  await laptop.data(
    "{ viewer { devices { nodes { sessions(ended: true) { id } } } } deviceChanges { devices { isSignedIn } } }",
  );
  await laptop.data('mutation ($id: ID!) { renameDevice(id: $id, name: "Mine") { isSignedIn } }', {
    id: laptop.viewer.deviceId,
  });
  await laptop.refresh();
  await laptop.data("mutation ($id: ID!) { signOutDevice(id: $id) { receipt { seq } } }", {
    id: phone.viewer.deviceId,
  });
  const pool = stack.adopt(new Pool({ connectionString: env.DATABASE_URL }), (opened) => opened.end());
  await createRevocationJobsStore(pool).deliver([1], clock.now);
  await createFeedStore(pool).acknowledge("gateway", [{ seq: 1, socketsClosed: 0 }], clock.now);
  const client = new Client({ connectionString: env.DATABASE_URL, options: "-c enable_seqscan=off" });
  await client.connect();
  stack.defer(() => client.end());
  const statements = sent.mock.calls.flatMap(([first]) => Statement.safeParse(first).data ?? []);
  const ofSessions = new Map(
    statements.filter(({ text }) => text.includes("session.sessions")).map((s) => [s.name, s]),
  );
  const sessionsRead = ["sessions-by-ids", "sessions-by-devices", "live-sessions", "advance-grants", "start-session"];
  const devicesRead = ["device-pages", "device-changes", "rename-device"];
  const revoked = ["revoke", "deliver-revocation", "acknowledge-revocations"];
  expect([...ofSessions.keys()]).toEqual(expect.arrayContaining([...sessionsRead, ...devicesRead, ...revoked]));
  for (const { name, text } of ofSessions.values()) {
    const { rows } = await client.query(`EXPLAIN (GENERIC_PLAN, FORMAT JSON) ${text}`);
    const readWhole = allOf(Explained.parse(rows)[0]["QUERY PLAN"][0].Plan).filter(readsAll);
    expect({ name, readWhole }).toEqual({ name, readWhole: [] });
  }
});
