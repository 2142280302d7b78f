import { z } from "zod";
import { startChild } from "../child.ts";
import type { Benchmark, Effort } from "../contender.ts";
import { openGraphQLClient, type GraphQLClient } from "../drivers/graphql-client.ts";
import { DEVICE_SYNC_STATUS, ME, VIEWER_USER } from "../operations.ts";
import { openReplicas, signUpPeople, startSessions, type SignedIn } from "../people.ts";
import type { Subject, Subgraphs } from "../subject.ts";
import { openSameQuery, type Answering, type GraphQuery } from "./graph-query.ts";

const DEVICES_EACH = 10;

const OTHERS = {
  "node:http, by hand": "../yardsticks/hop-floor.ts",
  "@apollo/gateway": "../peers/apollo-gateway.ts",
  "@graphql-hive/gateway": "../peers/hive-gateway.ts",
  "@mercuriusjs/gateway": "../peers/mercurius-gateway.ts",
};

/** One subgraph, one row: the cost of the gateway itself. */
export const gatewayNoHop: Benchmark = {
  name: "gateway-no-hop",
  what: ({ workers }) => `who am I, through each gateway over the same subgraphs, ${workers} people at once`,
  open: openBeside(ME, (client, _subject, { workers }) => signUpPeople(client, workers)),
};

/** A plan of two sequential fetches. */
export const gatewayOneHop: Benchmark = {
  name: "gateway-one-hop",
  what: ({ workers }) => `an entity of one subgraph completed by another, ${workers} people at once`,
  open: openBeside(VIEWER_USER, (client, _subject, { workers }) => signUpPeople(client, workers)),
};

/** The same for ten entities. */
export const gatewayList: Benchmark = {
  name: "gateway-list",
  what: ({ workers }) => `${DEVICES_EACH} entities of one subgraph completed by another, ${workers} people at once`,
  open: openBeside(DEVICE_SYNC_STATUS, async (client, subject, { workers }) => {
    const sessions = await startSessions(client, subject, { people: workers, sessionsEach: DEVICES_EACH });
    await openReplicas(client, sessions.flat(), 1);
    return sessions.flatMap(([first]) => first ?? []);
  }),
};

/**
 * Our gateway, and the others over the same subgraphs (or, where ours run in the gateway's process, over the same three
 * as separate processes).
 */
function openBeside(
  operation: GraphQuery["operation"],
  makePeople: (client: GraphQLClient, subject: Subject, effort: Effort) => Promise<SignedIn[]>,
): Benchmark["open"] {
  return async (subject, effort, stack) => {
    await using client = openGraphQLClient(subject.graphqlUrl, effort.workers);
    const people = await makePeople(client, subject, effort);
    const subgraphs = await subject.openSubgraphs(stack);
    return openSameQuery({ operation, people }, await openOthers(subgraphs, stack), { subject, effort, stack });
  };
}

async function openOthers({ pids, ...settings }: Subgraphs, stack: AsyncDisposableStack): Promise<Answering[]> {
  const others: Answering[] = [];
  for (const [name, program] of Object.entries(OTHERS)) {
    const { ready, pid } = stack.use(await startChild(new URL(program, import.meta.url), settings, z.string()));
    others.push({ name, url: ready, processes: { gateway: [pid], services: pids } });
  }
  return others;
}
