import { QueryPlanner } from "@apollo/query-planner";
import { createIdentitySigner, generateKey } from "@continuo/access";
import { createLogger } from "@continuo/process";
import { parse, print } from "graphql";
import { beforeAll, describe, expect, it, vi } from "vitest";
import { CONTEXT } from "../fixtures/apollo-executor.ts";
import { createSubgraphClient, type SubgraphClient } from "../subgraph/subgraph-client.ts";
import { createApolloGraph } from "./apollo-graph.ts";
import { toApolloGateway } from "./apollo-gateway.ts";
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
  // Nobody asks them.
  clients = new Map(
    ["identity", "session", "user-state"].map((name) => [
      name,
      createSubgraphClient({ name, at: "http://127.0.0.1:1", signer, logger }),
    ]),
  );
});

/** The nth of graphs that differ in nothing but their text; or without the field `detectedName`. */
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

  it("is replaced in one step: whoever listens is told before, and nobody sees a half", async () => {
    const [first, second] = [graph(1), graph(2)];
    const live = await createLiveGraph(first);
    const seen: boolean[] = [];
    const stop = live.onReplace((next) => void seen.push(next === second, live.current() === first));
    await live.replace(second);
    expect(seen).toEqual([true, true]);
    expect([live.current(), live.of(first.schema), live.of(second.schema)]).toEqual([second, first, second]);
    stop();
    await live.replace(graph(3));
    expect(seen).toHaveLength(2);
  });

  it("answers what was validated against a former graph by that one", async () => {
    const [first, second] = [graph(1), graph(2)];
    const live = await createLiveGraph(first);
    const answers = [first, second].map((one) => vi.spyOn(one, "answer").mockResolvedValue({ data: {} }));
    const { executor } = await toApolloGateway(live).load({ apollo: {} });
    await live.replace(second);
    const request = { schema: first.schema, document: parse(ME), operationName: null, request: {}, context: CONTEXT };
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- it looks at no more
    await executor?.(request as unknown as Parameters<NonNullable<typeof executor>>[0]);
    expect(answers.map((answer) => answer.mock.calls.length)).toEqual([1, 0]);
  });
});
