import type { Benchmark } from "../contender.ts";
import { openGraphQLClient } from "../drivers/graphql-client.ts";
import { openReplicas, signUpPeople } from "../people.ts";
import { openFloor } from "../yardsticks/open-floor.ts";
import { openDatabasePath } from "./database-path.ts";

/** Enough to create all rows before the measurement, so that a push changes rows and adds none. */
const CHANGES_BEFORE = 40;

/** Changes settled: each push is one durable transaction. */
const pushOf = (name: string, opsPerPush: number): Benchmark => ({
  name,
  what: ({ workers }) => `pushes of ${opsPerPush} change${opsPerPush === 1 ? "" : "s"}, ${workers} replicas at once`,
  async open(subject, effort, stack) {
    await using client = openGraphQLClient(subject.graphqlUrl, effort.workers);
    const floor = await openFloor(subject, stack);
    const replicas = async () => {
      const people = await signUpPeople(client, effort.workers);
      return { opsPerPush, replicas: await openReplicas(client, people, CHANGES_BEFORE) };
    };
    const [ours, floors, alone] = [await replicas(), await replicas(), await replicas()];
    const statements = { ...alone, statement: "push" };
    return openDatabasePath({ subject, effort, floor, stack, driver: "push", ours, floors, statements });
  },
});

export const push1 = pushOf("push-1", 1);
export const push20 = pushOf("push-20", 20);
