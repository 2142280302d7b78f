import type { Benchmark } from "../contender.ts";
import { openGraphQLClient } from "../drivers/graphql-client.ts";
import { DEVICES } from "../operations.ts";
import { inTurn, openReplicas, signIn, signUpPeople } from "../people.ts";
import { openGraphQuery } from "./graph-query.ts";

const DEVICES_EACH = 10;
const PEOPLE = 8;

/** The page "Your devices": ten devices, their sessions and each one's sync status; three subgraphs. */
export const sessionDeviceQuery: Benchmark = {
  name: "session-device-query",
  what: ({ workers }) => `${DEVICES_EACH} devices with their sessions and sync status, ${workers} at once`,
  async open(subject, effort, stack) {
    await using client = openGraphQLClient(subject.graphqlUrl, effort.workers);
    const people = await signUpPeople(client, PEOPLE);
    await inTurn(PEOPLE * (DEVICES_EACH - 1), async (index) => {
      const person = people[index % PEOPLE];
      if (person) await signIn(client, person.email);
    });
    await openReplicas(client, people, 5);
    return openGraphQuery({ operation: DEVICES, people }, { subject, effort, stack });
  },
};
