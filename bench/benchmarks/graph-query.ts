/** A query through the gateway, beside node:http with a prepared answer, and any others that can answer it. */
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

/** A contender that answers the same requests as our gateway. */
export interface Answering {
  readonly name: string;
  readonly url: string;
  readonly processes: ContenderOptions["processes"] & {};
}

interface Opening {
  readonly subject: Subject;
  readonly effort: Effort;
  readonly stack: AsyncDisposableStack;
}

/** Ours, the ceiling and the floor: node:http that reads the answer with `pg`. */
export async function openGraphQuery(query: GraphQuery, opening: Opening): Promise<Contender[]> {
  const { url, pid } = await openFloor(opening.subject, opening.stack);
  return openSameQuery(query, [{ name: "node:http + pg", url, processes: { server: [pid] } }], opening);
}

/** Ours, the ceiling and the others, whose answers are compared with ours before anything is measured. */
export async function openSameQuery(
  { operation, people }: GraphQuery,
  others: readonly Answering[],
  { subject, effort, stack }: Opening,
): Promise<Contender[]> {
  const requests = people.map(({ accessToken }) => wireRequest(operation, {}, accessToken));
  let answer = "";
  for (const other of others) answer = await sameAnswers(subject.graphqlUrl, other, requests);
  const ceiling = stack.use(
    await startChild(new URL("../yardsticks/ceiling.ts", import.meta.url), { answer }, z.string()),
  );
  const contend = async ({ name, url, processes }: Answering): Promise<Contender> =>
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
  const contenders: Contender[] = [];
  for (const one of [
    { name: "continuo", url: subject.graphqlUrl, processes: subject.processes },
    { name: "node:http, same bytes", url: ceiling.ready, processes: { server: [ceiling.pid] } },
    ...others,
  ])
    contenders.push(await contend(one));
  return contenders;
}

/** Answers may differ briefly (a device was seen again in between), but not repeatedly. */
const TRIES = 5;

/** Our last answer. Throws when the other's differs. */
async function sameAnswers(
  ours: string,
  { name, url }: Pick<Answering, "name" | "url">,
  requests: readonly WireRequest[],
): Promise<string> {
  await using us = openGraphQLClient(ours, 1);
  await using them = openGraphQLClient(url, 1);
  let sample = "";
  for (const request of requests) {
    for (let attempt = 1; ; attempt += 1) {
      const [mine, theirs] = await Promise.all([us.post(request), them.post(request)]);
      sample = mine;
      const [a, b]: unknown[] = [JSON.parse(mine), JSON.parse(theirs)];
      if (isDeepStrictEqual(a, b)) break;
      if (attempt === TRIES) throw new Error(`${name} answers something else:\nours   ${mine}\ntheirs ${theirs}`);
    }
  }
  return sample;
}
