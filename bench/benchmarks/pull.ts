import { isDeepStrictEqual } from "node:util";
import type { Benchmark } from "../contender.ts";
import { openGraphQLClient, wireRequest, type GraphQLClient } from "../drivers/graphql-client.ts";
import { dataOf, PULL, PUSH } from "../operations.ts";
import { openReplicas, signUpPeople } from "../people.ts";
import { nextChanges, pushInput, type Replica } from "../replica.ts";
import { openFloor } from "../yardsticks/open-floor.ts";
import { openDatabasePath } from "./database-path.ts";

/** The changes that a device which was away for a while has missed. */
const CHANGES = 5;
const CHANGES_BEFORE = 40;

/** A replica that is five changes behind pulls them. */
export const pull: Benchmark = {
  name: "pull",
  what: ({ workers }) => `pulls of ${CHANGES} changes, ${workers} replicas at once`,
  async open(subject, effort, stack) {
    await using client = openGraphQLClient(subject.graphqlUrl, effort.workers);
    const floor = await openFloor(subject, stack);
    const replicas = await openReplicas(client, await signUpPeople(client, effort.workers), CHANGES_BEFORE);
    const reads = await Promise.all(replicas.map((replica) => fallBehind(client, replica)));
    const ours = reads.map(({ since, replica }) => wireRequest(PULL, { since }, replica.accessToken));
    const floors = reads.map(({ replica }) =>
      wireRequest(PULL, { since: String(replica.headRev) }, replica.accessToken),
    );
    for (const [index, request] of floors.entries()) {
      await using them = openGraphQLClient(floor.url, 1);
      const { entries } = dataOf(PULL, await them.post(request)).pullState;
      if (!isDeepStrictEqual(entries, reads[index]?.entries)) throw new Error("the floor pulls something else");
    }
    const raws = reads.map(({ replica }) => ({ userId: replica.userId, afterRev: replica.headRev, entries: CHANGES }));
    return openDatabasePath({
      subject,
      effort,
      floor,
      stack,
      driver: "query",
      ours: { requests: ours },
      floors: { requests: floors },
      statements: { statement: "pull", reads: raws },
    });
  },
};

/** Pushes five more changes, and returns the cursor from before them. */
async function fallBehind(client: GraphQLClient, replica: Replica) {
  const read = async (since?: string) => {
    const variables = since === undefined ? {} : { since };
    return dataOf(PULL, await client.post(wireRequest(PULL, variables, replica.accessToken))).pullState;
  };
  const { to: since } = await read();
  const now = Date.now();
  const input = pushInput(replica, nextChanges(replica.lastSeq, CHANGES, now), now);
  dataOf(PUSH, await client.post(wireRequest(PUSH, { input }, replica.accessToken)));
  const { entries } = await read(since);
  if (entries.length !== CHANGES) throw new Error(`pulled ${entries.length} changes of ${CHANGES}`);
  return { since, replica, entries };
}
