import { z } from "zod";
import type { Benchmark } from "../contender.ts";
import { openGraphQLClient } from "../drivers/graphql-client.ts";
import { signUpPeople, type SignedIn } from "../people.ts";
import { query } from "../subject.ts";
import { openFloor } from "../yardsticks/open-floor.ts";
import { openDatabasePath } from "./database-path.ts";

/** Refresh tokens exchanged for their successors: one durable write, one signature. */
export const refresh: Benchmark = {
  name: "refresh",
  what: ({ workers }) => `refresh tokens rotated, ${workers} sessions at once`,
  async open(subject, effort, stack) {
    await using client = openGraphQLClient(subject.graphqlUrl, effort.workers);
    const floor = await openFloor(subject, stack);
    const ours = await signUpPeople(client, effort.workers);
    const floors = await grantsOf(subject.databaseUrl, await signUpPeople(client, effort.workers));
    const grants = await grantsOf(subject.databaseUrl, await signUpPeople(client, effort.workers));
    return openDatabasePath({
      subject,
      effort,
      floor,
      stack,
      driver: "refresh",
      ours: { refreshTokens: ours.map(({ refreshToken }) => refreshToken) },
      floors: { refreshTokens: floors.map(({ id, generation }) => floor.refreshToken(id, generation)) },
      statements: { statement: "rotate", grants },
    });
  },
};

const Grant = z.object({ id: z.string(), generation: z.number() });

async function grantsOf(databaseUrl: string, people: readonly SignedIn[]): Promise<z.infer<typeof Grant>[]> {
  const sessionIds = people.map(({ sessionId }) => sessionId);
  const sql = "SELECT id, generation FROM session.grants WHERE session_id = ANY($1) AND state = 'ACTIVE'";
  return z
    .array(Grant)
    .length(people.length)
    .parse(await query(databaseUrl, sql, [sessionIds]));
}
