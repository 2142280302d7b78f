import { randomUUID } from "node:crypto";
import { z } from "zod";
import type { Benchmark, Contender } from "../contender.ts";
import { openGraphQLClient, wireRequest, type GraphQLClient } from "../drivers/graphql-client.ts";
import { dataOf, PUSH } from "../operations.ts";
import { inTurn, openReplicas, startSessions } from "../people.ts";
import { nextChanges, pushInput, type Replica } from "../replica.ts";
import { query, type Subject } from "../subject.ts";

const PEOPLE = 20;
const ENTRIES_EACH = 500;
const OPS_PER_PUSH = 100;
const ENTRIES = PEOPLE * ENTRIES_EACH;

/** The minimal table for a setting: whose it is, which one, and its value. */
const CREATE_TABLE = `
CREATE TABLE bench_settings (
  user_id uuid, namespace text, key text, field text, value jsonb NOT NULL, rev bigint NOT NULL,
  PRIMARY KEY (user_id, namespace, key, field)
)`;
const CREATE_INDEX = "CREATE INDEX ON bench_settings (user_id, rev)";

const INSERT_SETTINGS = `
INSERT INTO bench_settings
SELECT $1, 'preferences', 'setting-' || n, 'value', to_jsonb('chosen ' || n), n FROM generate_series(1, $2::int) AS n`;

/** Disk space per new entry, indexes included: a turn adds entries and divides the growth by their number. */
export const bytesPerEntry: Benchmark = {
  name: "bytes-per-entry",
  what: () => `${ENTRIES} small entries a round, heap and indexes`,
  async open(subject) {
    await query(subject.databaseUrl, CREATE_TABLE);
    await query(subject.databaseUrl, CREATE_INDEX);
    return [
      growthOf(subject, "continuo", "user_state.state_entries", () => pushEntries(subject)),
      growthOf(subject, "one table", "bench_settings", async () => {
        for (let person = 0; person < PEOPLE; person += 1)
          await query(subject.databaseUrl, INSERT_SETTINGS, [randomUUID(), ENTRIES_EACH]);
      }),
    ];
  },
};

/** `add` adds ENTRIES rows to `table`. */
function growthOf(subject: Subject, name: string, table: string, add: () => Promise<void>): Contender {
  return {
    name,
    async turn() {
      const before = await sizeOf(subject, table);
      await add();
      return { "bytes/entry": ((await sizeOf(subject, table)) - before) / ENTRIES };
    },
  };
}

async function sizeOf({ databaseUrl }: Subject, table: string): Promise<number> {
  const [row] = await query(databaseUrl, "SELECT pg_total_relation_size($1::regclass)::float8 AS size", [table]);
  return z.object({ size: z.number() }).parse(row).size;
}

async function pushEntries(subject: Subject): Promise<void> {
  await using client = openGraphQLClient(subject.graphqlUrl, 4);
  const people = await startSessions(client, subject, { people: PEOPLE, sessionsEach: 1 });
  const replicas = await openReplicas(client, people.flat(), 1);
  await inTurn(replicas.length, async (index) => {
    const replica = replicas[index];
    if (replica) await fill(client, replica);
  });
}

/** The replica has pushed one change; pushes the rest. */
async function fill(client: GraphQLClient, replica: Replica): Promise<void> {
  const { accessToken } = replica;
  let { lastSeq } = replica;
  while (lastSeq < ENTRIES_EACH) {
    const now = Date.now();
    const changes = nextChanges(lastSeq, Math.min(OPS_PER_PUSH, ENTRIES_EACH - lastSeq), now);
    const named = changes.map((change) => ({ ...change, key: `setting-${change.seq}` }));
    const request = wireRequest(PUSH, { input: pushInput(replica, named, now) }, accessToken);
    ({ lastSeq } = dataOf(PUSH, await client.post(request)).pushState);
  }
}
