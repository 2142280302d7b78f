import { z } from "zod";
import { startChild } from "../child.ts";
import { openContender, type Benchmark } from "../contender.ts";
import { openGraphQLClient } from "../drivers/graphql-client.ts";
import { openReplicas, startSessions } from "../people.ts";
import { query } from "../subject.ts";
import { CREATE_TOLD } from "../yardsticks/statements.ts";

const PEOPLE = 100;
const SOCKETS_EACH = 10;
const CHANGES = 1_000;
const CONNECTIONS = 8;
/** Pushed beforehand, so that every key has been changed lately, as while somebody writes or plays. */
const CHANGES_BEFORE = 40;

/** From a change on one device to another device having it, one at a time; the author pushes over its open socket. */
export const changeToOtherDevice = changeOver("SOCKET", "change-to-other-device");
/** The same, pushed over HTTP, as by a device that watches nothing. */
export const changeToOtherDeviceOverHttp = changeOver("HTTP", "change-to-other-device-http");

function changeOver(over: "HTTP" | "SOCKET", name: string): Benchmark {
  return {
    name,
    what: () => `${CHANGES} changes a round, one after the other, ${PEOPLE * SOCKETS_EACH} sockets connected`,
    async open(subject, _effort, stack) {
      const { databaseUrl, graphqlUrl } = subject;
      await query(databaseUrl, CREATE_TOLD);
      await using client = openGraphQLClient(graphqlUrl, CONNECTIONS);
      const bare = stack.use(
        await startChild(new URL("../yardsticks/bare-ws.ts", import.meta.url), { databaseUrl }, z.string()),
      );
      const hocuspocus = stack.use(
        await startChild(new URL("../peers/hocuspocus.ts", import.meta.url), {}, z.string()),
      );
      const people = await startSessions(client, subject, { people: PEOPLE, sessionsEach: SOCKETS_EACH + 1 });
      const authors = people.flatMap(([author]) => author ?? []);
      const others = people.map(([, ...rest]) => rest.map(({ accessToken }) => accessToken));
      const replicas = await openReplicas(client, authors, CHANGES_BEFORE);
      const one = { workers: 1, bound: { operations: CHANGES }, measures: "latency" } as const;
      return [
        stack.use(
          await openContender(subject, {
            ...one,
            name: "continuo",
            driver: "push-to-receive",
            options: { url: graphqlUrl, replicas, others, over },
          }),
        ),
        stack.use(
          await openContender(subject, {
            ...one,
            name: "ws + NOTIFY",
            driver: "raw-change",
            options: { url: bare.ready, databaseUrl, people: PEOPLE, socketsEach: SOCKETS_EACH },
          }),
        ),
        stack.use(
          await openContender(subject, {
            ...one,
            name: "Hocuspocus",
            driver: "yjs-change",
            options: { url: hocuspocus.ready, documents: PEOPLE, connectionsEach: SOCKETS_EACH },
          }),
        ),
      ];
    },
  };
}
