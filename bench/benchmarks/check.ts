import type { Benchmark } from "../contender.ts";
import { openGraphQLClient } from "../drivers/graphql-client.ts";
import { CHECK } from "../operations.ts";
import { openPeer } from "../peers/open-peer.ts";
import { signUpPeople } from "../people.ts";
import { openRedis } from "../redis.ts";
import { openFloor } from "../yardsticks/open-floor.ts";
import { graphqlRequest, openRepeated, type Opening } from "./sessions.ts";

/** Whether a caller is signed in, as another service asks before each of its own answers. */
export const check: Benchmark = {
  name: "check",
  what: ({ workers }) => `is this caller signed in and not signed out, ${workers} people at once`,
  async open(subject, effort, stack) {
    const opening: Opening = { subject, effort, stack };
    const { databaseUrl } = subject;
    const people = effort.workers;
    await using client = openGraphQLClient(subject.graphqlUrl, effort.workers);
    const signedIn = await signUpPeople(client, people);
    const floor = await openFloor(subject, stack);
    const betterAuth = await openPeer(
      "better-auth",
      { databaseUrl, cookieCache: false, refreshEachTime: false },
      stack,
    );
    const cached = await openPeer("better-auth", { databaseUrl, cookieCache: true, refreshEachTime: false }, stack);
    const oidc = await openPeer("oidc-provider", { databaseUrl }, stack);
    const ask = { what: "check", people, sessions: 1 } as const;

    const contenders = [
      await openRepeated(opening, {
        name: "continuo",
        origin: subject.origin,
        processes: { gateway: subject.processes.gateway },
        requests: signedIn.map(({ accessToken }) => ({
          method: "GET",
          path: "/auth/check",
          headers: { authorization: `Bearer ${accessToken}` },
          expect: "",
        })),
      }),
      await openRepeated(opening, {
        name: "node:http, cached JWT",
        origin: new URL(floor.url).origin,
        processes: { server: [floor.pid] },
        requests: signedIn.map(({ accessToken }) =>
          graphqlRequest(CHECK, {}, { accessToken, expect: '"active":true' }),
        ),
      }),
    ];
    for (const [name, peer] of [
      ["better-auth", betterAuth],
      ["better-auth, cookie cache", cached],
      ["oidc-provider", oidc],
    ] as const) {
      const requests = await peer.requests(ask);
      contenders.push(
        await openRepeated(opening, { name, origin: peer.origin, processes: { server: [peer.pid] }, requests }),
      );
    }
    const redisUrl = await openRedis(stack);
    if (redisUrl === undefined) return contenders;
    const express = await openPeer("express-session", { redisUrl }, stack);
    const requests = await express.requests(ask);
    const processes = { server: [express.pid] };
    contenders.push(
      await openRepeated(opening, { name: "express-session + Redis", origin: express.origin, processes, requests }),
    );
    return contenders;
  },
};
