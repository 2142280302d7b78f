import { QueryPlanner } from "@apollo/query-planner";
import { createIdentitySigner, generateKey } from "@continuo/access";
import { createLogger } from "@continuo/process";
import { parse, print } from "graphql";
import { beforeAll, describe, expect, it, vi } from "vitest";
import { CONTEXT } from "../fixtures/apollo-executor.ts";
import { claimsOf } from "../fixtures/claims.ts";
import { createServer } from "../server.ts";
import { createSubgraphClient, type SubgraphClient } from "../subgraph/subgraph-client.ts";
import { createApolloGraph } from "./apollo-graph.ts";
import type { Graph } from "./graph.ts";
import { createLiveGraph } from "./live-graph.ts";
import { loadSupergraph } from "./supergraph-file.ts";

const SUPERGRAPH = loadSupergraph();
const ME = "query Me { me { id email } }";
const DEVICES = "{ viewer { devices { nodes { name syncStatus { ackedRev } } } } }";
const LIVE = "subscription Live { deviceChanged { devices { name syncStatus { ackedRev } } } }";
const DETECTED = "{ viewer { device { detectedName } } }";

let clients: ReadonlyMap<string, SubgraphClient>;
beforeAll(async () => {
  const signer = createIdentitySigner((await generateKey("Ed25519")).privateJwk);
  const logger = createLogger({ name: "test", level: "silent" });
  // Never called.
  clients = new Map(
    ["identity", "session", "user-state"].map((name) => [
      name,
      createSubgraphClient({ name, at: "http://127.0.0.1:1", signer, logger }),
    ]),
  );
});

/** The nth of several graphs that differ only in their text, or lack the lines that contain `without`. */
function graph(nth: number, { without = "" } = {}): Graph {
  const supergraphSdl = SUPERGRAPH.split("\n")
    .filter((line) => without === "" || !line.includes(without))
    .join("\n");
  return createApolloGraph({ supergraphSdl: `${supergraphSdl}\n# ${nth}`, clients, listSize: 10 });
}

describe("a live graph", () => {
  it("has plans for trusted documents before it serves, whether their operation is named or not", async () => {
    const planner = vi.spyOn(QueryPlanner.prototype, "buildQueryPlan");
    const live = await createLiveGraph(graph(1), [ME, LIVE, "{ noSuchField }", "no document"]);
    expect(planner).toHaveBeenCalledTimes(2);
    live.current().prepare(parse(ME), "Me");
    live.current().prepare(parse(ME), undefined);
    live.current().planSubscription(parse(LIVE), "Live");
    expect(planner).toHaveBeenCalledTimes(2);
  });

  it("has plans for trusted documents and for what was asked, before another graph serves", async () => {
    const planner = vi.spyOn(QueryPlanner.prototype, "buildQueryPlan");
    const live = await createLiveGraph(graph(1), [ME]);
    live.current().prepare(parse(DEVICES), undefined);
    live.current().planSubscription(parse(LIVE), "Live");
    await live.replace(graph(2));
    planner.mockClear();
    for (const text of [ME, DEVICES, LIVE]) live.current().prepare(parse(text), undefined);
    expect(planner).not.toHaveBeenCalled();
    expect(
      live
        .current()
        .known()
        .map(({ text }) => text),
    ).toEqual([LIVE, DEVICES, ME].map((text) => print(parse(text))));
  });

  it("has plans too for what is asked first while it gets ready", async () => {
    const live = await createLiveGraph(graph(1), [ME]);
    const replaced = live.replace(graph(2));
    live.current().prepare(parse(DEVICES), undefined);
    await replaced;
    const planner = vi.spyOn(QueryPlanner.prototype, "buildQueryPlan");
    live.current().prepare(parse(DEVICES), undefined);
    expect(planner).not.toHaveBeenCalled();
  });

  it("leaves out what the other graph does not have", async () => {
    const live = await createLiveGraph(graph(1));
    live.current().prepare(parse(DETECTED), undefined);
    await live.replace(graph(2, { without: "detectedName" }));
    expect(live.current().known()).toEqual([]);
  });

  it("answers on a former graph what was validated against that", async () => {
    const [first, second] = [graph(1), graph(2)];
    const live = await createLiveGraph(first);
    const answers = [first, second].map((one) => vi.spyOn(one, "answer").mockResolvedValue({ data: {} }));
    const server = createServer({
      graph: live,
      documents: { read: (text) => parse(text) },
      activity: { note: () => undefined },
      // Another comes while it is being judged.
      standing: { assert: () => live.replace(second) },
      limits: { cost: 1_000 },
      rates: { operation: async () => undefined },
      measure: { begin: () => () => undefined },
      isDevelopment: false,
    });
    const session = { ...claimsOf("s"), scope: "account" };
    await server.answer({ query: "mutation { signOut { receipt { __typename } } }" }, { ...CONTEXT, session });
    expect(live.current()).toBe(second);
    expect(answers.map((answer) => answer.mock.calls.length)).toEqual([1, 0]);
  });
});
