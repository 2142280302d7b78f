import type { Benchmark } from "../contender.ts";
import { openGraphQLClient } from "../drivers/graphql-client.ts";
import { SESSIONS } from "../operations.ts";
import { openPeer } from "../peers/open-peer.ts";
import { startSessions } from "../people.ts";
import { openFloor } from "../yardsticks/open-floor.ts";
import { graphqlRequest, openRepeated } from "./sessions.ts";

const SESSIONS_EACH = 5;

/** A person's sessions, each on its own device, with name and last use. */
export const list: Benchmark = {
  name: "list",
  what: ({ workers }) => `the ${SESSIONS_EACH} sessions of a person, ${workers} people at once`,
  async open(subject, effort, stack) {
    const opening = { subject, effort, stack };
    const { workers } = effort;
    await using client = openGraphQLClient(subject.graphqlUrl, workers);
    const signedIn = await startSessions(client, subject, { people: workers, sessionsEach: SESSIONS_EACH });
    const requests = signedIn.map(([first]) =>
      graphqlRequest(SESSIONS, {}, { accessToken: first?.accessToken ?? "", expect: '"startedAt":' }),
    );
    const floor = await openFloor(subject, stack);
    const peer = await openPeer(
      "better-auth",
      { databaseUrl: subject.databaseUrl, cookieCache: false, refreshEachTime: false },
      stack,
    );
    const theirs = await peer.requests({ what: "list", people: workers, sessions: SESSIONS_EACH });
    const { origin: floorOrigin } = new URL(floor.url);
    return [
      await openRepeated(opening, { name: "continuo", origin: subject.origin, processes: subject.processes, requests }),
      await openRepeated(opening, {
        name: "node:http + pg",
        origin: floorOrigin,
        processes: { server: [floor.pid] },
        requests,
      }),
      await openRepeated(opening, {
        name: "better-auth",
        origin: peer.origin,
        processes: { server: [peer.pid] },
        requests: theirs,
      }),
    ];
  },
};
