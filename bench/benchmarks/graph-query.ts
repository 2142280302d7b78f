/** A query through the gateway, beside node:http that knows the answer already, and node:http that reads it with `pg`. */
import { isDeepStrictEqual } from "node:util";
import { z } from "zod";
import { startChild } from "../child.ts";
import { openContender, type Contender, type ContenderOptions, type Effort } from "../contender.ts";
import { openGraphQLClient, wireRequest, type WireRequest } from "../drivers/graphql-client.ts";
import type { SignedIn } from "../people.ts";
import type { Subject } from "../subject.ts";
import { openFloor } from "../yardsticks/open-floor.ts";

export interface GraphQuery {
  readonly operation: { readonly name: string; readonly query: string };
  readonly people: readonly SignedIn[];
}

/** Ours, the ceiling and the floor; the floor's answers are compared with ours before anything is measured. */
export async function openGraphQuery(
  { operation, people }: GraphQuery,
  { subject, effort, stack }: { subject: Subject; effort: Effort; stack: AsyncDisposableStack },
): Promise<Contender[]> {
  const requests = people.map(({ accessToken }) => wireRequest(operation, {}, accessToken));
  const floor = await openFloor(subject, stack);
  const answer = await sameAnswers(subject.graphqlUrl, floor.url, requests);
  const ceiling = stack.use(
    await startChild(new URL("../yardsticks/ceiling.ts", import.meta.url), { answer }, z.string()),
  );

  const against = async (
    name: string,
    url: string,
    processes: ContenderOptions["processes"] & {},
  ): Promise<Contender> =>
    stack.use(
      await openContender(subject, {
        name,
        driver: "query",
        options: { url, requests },
        workers: effort.workers,
        bound: { seconds: effort.seconds },
        processes,
      }),
    );
  return [
    await against("continuo", subject.graphqlUrl, subject.processes),
    await against("node:http, same bytes", ceiling.ready, { server: [ceiling.pid] }),
    await against("node:http + pg", floor.url, { server: [floor.pid] }),
  ];
}

/** Answers may differ for a moment (a device was seen again between the two); not for long. */
const TRIES = 5;

async function sameAnswers(ours: string, floor: string, requests: readonly WireRequest[]): Promise<string> {
  await using us = openGraphQLClient(ours, 1);
  await using them = openGraphQLClient(floor, 1);
  let sample = "";
  for (const request of requests) {
    for (let attempt = 1; ; attempt += 1) {
      const [mine, theirs] = await Promise.all([us.post(request), them.post(request)]);
      sample = mine;
      const [a, b]: unknown[] = [JSON.parse(mine), JSON.parse(theirs)];
      if (isDeepStrictEqual(a, b)) break;
      if (attempt === TRIES) throw new Error(`the floor answers something else:\nours  ${mine}\nfloor ${theirs}`);
    }
  }
  return sample;
}
