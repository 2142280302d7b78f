import type { Benchmark } from "../contender.ts";
import { openGraphQLClient } from "../drivers/graphql-client.ts";
import { ME } from "../operations.ts";
import { signUpPeople } from "../people.ts";
import { openGraphQuery } from "./graph-query.ts";

/** The smallest query: one subgraph, one row. */
export const me: Benchmark = {
  name: "me",
  what: ({ workers }) => `who am I, ${workers} people at once`,
  async open(subject, effort, stack) {
    await using client = openGraphQLClient(subject.graphqlUrl, effort.workers);
    const people = await signUpPeople(client, effort.workers);
    return openGraphQuery({ operation: ME, people }, { subject, effort, stack });
  },
};
