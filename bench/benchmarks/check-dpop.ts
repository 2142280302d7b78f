import { openContender, type Benchmark } from "../contender.ts";
import { openGraphQLClient } from "../drivers/graphql-client.ts";
import { APPLICATION, startSessions } from "../people.ts";
import { openRepeated } from "./sessions.ts";
import { randomUUID } from "node:crypto";

/** Checks a token bound to a key, with a fresh proof each time, beside a bearer token without a proof. */
export const checkDpop: Benchmark = {
  name: "check-dpop",
  what: ({ workers }) => `is this caller signed in, and does it hold the key of its token, ${workers} people at once`,
  async open(subject, effort, stack) {
    const { workers } = effort;
    const processes = { gateway: subject.processes.gateway };
    await using client = openGraphQLClient(subject.graphqlUrl, workers);
    const bearers = (await startSessions(client, subject, { people: workers, sessionsEach: 1 })).flat();
    const grants = await Promise.all(Array.from({ length: workers }, () => subject.signInGrant(randomUUID())));
    return [
      stack.use(
        await openContender(subject, {
          name: "continuo, token and proof",
          driver: "dpop-check",
          options: { origin: subject.origin, clientId: APPLICATION, grants },
          workers,
          bound: { seconds: effort.seconds },
          processes,
        }),
      ),
      await openRepeated(
        { subject, effort, stack },
        {
          name: "continuo, token alone",
          origin: subject.origin,
          processes,
          requests: bearers.map(({ accessToken }) => ({
            method: "GET",
            path: "/auth/check",
            headers: { authorization: `Bearer ${accessToken}` },
            expect: "",
          })),
        },
      ),
    ];
  },
};
