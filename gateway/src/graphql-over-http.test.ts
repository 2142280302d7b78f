/**
 * The audits of `graphql-http` for the GraphQL over HTTP specification. Deviations are listed here, with the reason.
 */
import { createIdentitySigner, createIdentityVerifier, generateKey, IDENTITY_HEADER } from "@continuo/access";
import { createHealth, createLogger } from "@continuo/process";
import { startSubgraph } from "@continuo/subgraph";
import { parse } from "graphql";
import { serverAudits } from "graphql-http";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startHouse } from "./fixtures/house.ts";

const ALWAYS_400 =
  "what cannot be run is 400 also to those who accept application/json alone, as ApolloServer has it: clients expect that";
const NO_SIMPLE_GET =
  "a GET that a browser sends to anybody unasked is refused, lest it act for whoever sits before it (CSRF)";
const POSTS_ONLY = "the gateway is its only client, and posts";

/** The audits that report a warning (SHOULD) or a notice (MAY), and why that is intended. */
const OF_A_SUBGRAPH: Readonly<Record<string, string>> = {
  "572B": ALWAYS_400,
  FDE2: ALWAYS_400,
  "7B9B": ALWAYS_400,
  "5A70": POSTS_ONLY,
  D6D5: POSTS_ONLY,
  "6A70": POSTS_ONLY,
};
const OF_THE_GATEWAY: Readonly<Record<string, string>> = {
  "572B": ALWAYS_400,
  FDE2: ALWAYS_400,
  "7B9B": ALWAYS_400,
  "5A70": NO_SIMPLE_GET,
  D6D5: NO_SIMPLE_GET,
  "6A70": NO_SIMPLE_GET,
};

const resources = new AsyncDisposableStack();
const servers = new Map<string, { url: string; fetchFn: typeof fetch }>();
beforeAll(async () => {
  const house = resources.use(await startHouse());
  servers.set("the gateway", { url: `${house.url}/graphql`, fetchFn: fetch });

  const { publicJwk, privateJwk } = await generateKey("Ed25519");
  const statement = await createIdentitySigner(privateJwk).sign({ kind: "anonymous" });
  const subgraph = resources.use(
    await startSubgraph({
      name: "sample",
      host: "127.0.0.1",
      port: 0,
      typeDefs: parse(`
        extend schema @link(url: "https://specs.apollo.dev/federation/v2.9")
        type Query { type(name: String): Type }
        type Type { name: String }
      `),
      resolvers: { Query: { type: (_root, { name }) => ({ name }) } },
      identity: createIdentityVerifier(publicJwk),
      health: createHealth(),
      logger: createLogger({ name: "sample", level: "silent" }),
      context: (base) => base,
    }),
  );
  servers.set("a subgraph", {
    url: subgraph.url,
    fetchFn: (input, init) =>
      fetch(input, {
        ...init,
        headers: { ...Object(init?.headers), [IDENTITY_HEADER]: statement },
        // Some audits send introspection, which subgraphs refuse; it is replaced by a field of the same form.
        ...(typeof init?.body === "string" && { body: init.body.replace("__type(", "type(") }),
      }),
  });
});
afterAll(() => resources.disposeAsync());

describe.each([
  ["the gateway", OF_THE_GATEWAY],
  ["a subgraph", OF_A_SUBGRAPH],
])("GraphQL over HTTP at %s", (name, excused) => {
  it("does every MUST, and every SHOULD and MAY but those that have a reason", async () => {
    const server = servers.get(name);
    const audits = serverAudits({ url: server?.url ?? "", fetchFn: server?.fetchFn });
    expect(audits.length).toBe(61);
    const results = await Promise.all(audits.map(async (audit) => ({ audit, result: await audit.fn() })));
    const short = results.filter(({ result }) => result.status !== "ok");
    const unexcused = short.filter(({ audit }) => audit.name.startsWith("MUST") || !(audit.id in excused));
    expect(unexcused.map(({ audit, result }) => `${audit.id} ${result.status}: ${audit.name}`)).toEqual([]);
    expect(Object.keys(excused).toSorted()).toEqual(short.map(({ audit }) => audit.id).toSorted());
  });
});
