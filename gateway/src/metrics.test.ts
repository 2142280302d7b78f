/** What a gateway tells of itself to those who run it. */
import { freePort } from "@continuo/testkit";
import { createClient } from "graphql-ws";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { eventually } from "./fixtures/eventually.ts";
import { type House, startHouse } from "./fixtures/house.ts";

describe("a gateway's metrics", () => {
  let house: House;
  let scrapeUrl: string;
  beforeAll(async () => {
    const port = await freePort();
    scrapeUrl = `http://127.0.0.1:${port}/metrics`;
    house = await startHouse({ env: { HEALTH_PORT: String(port), MAX_COST: "2000" } });
  });
  afterAll(() => house[Symbol.asyncDispose]());

  /** The value of a series; 0 while there is none. Other files count in this process too. */
  async function valueOf(series: string): Promise<number> {
    const line = (await (await fetch(scrapeUrl)).text()).split("\n").find((line) => line.startsWith(`${series} `));
    return Number(line?.slice(series.length + 1) ?? 0);
  }

  it("are not for the public", async () => {
    expect((await fetch(`${house.url}/metrics`)).status).toBe(404);
  });

  it.each([
    ["query", "OK", "{ me { id } }"],
    ["mutation", "INTERNAL_SERVER_ERROR", `mutation { signUp(input: { email: "a@b.test", password: "p" }) { email } }`],
    ["none", "BAD_USER_INPUT", "{ shoeSize }"],
  ])("count a %s that ends as %s", async (kind, outcome, query) => {
    const series = `continuo_operation_duration_seconds_count{service="gateway",kind="${kind}",outcome="${outcome}"}`;
    const before = await valueOf(series);
    await house.graphql(query);
    expect(await valueOf(series)).toBe(before + 1);
  });

  it("have the subgraphs of the same process among them", async () => {
    const series = 'continuo_operation_duration_seconds_count{service="identity",kind="query",outcome="OK"}';
    const before = await valueOf(series);
    await house.graphql("{ me { id } }");
    expect(await valueOf(series)).toBe(before + 1);
  });

  it("tell how many sockets for operations are open to a subgraph", async () => {
    await eventually(async () => {
      await house.graphql("{ me { id } }");
      expect(await valueOf('continuo_subgraph_sockets{subgraph="identity"}')).toBe(2);
    });
  });

  it("count what costs too much, by its reason", async () => {
    const series = `continuo_refusals_total{code="BAD_USER_INPUT",reason="OPERATION_TOO_COSTLY"}`;
    const before = await valueOf(series);
    await house.graphql(`{ viewer { devices(first: 3000) { nodes { id } } } }`);
    expect(await valueOf(series)).toBe(before + 1);
  });

  it("tell how many streams are open, what they were told, why they ended, and how fresh the knowledge of revocations is", async () => {
    const client = createClient({
      url: house.socketUrl,
      webSocketImpl: WebSocket,
      connectionParams: { authorization: `Bearer ${await house.token(house.join())}` },
    });
    const open = 'continuo_streams_open{transport="SOCKET"}';
    const told = 'continuo_live_events_total{transport="SOCKET"}';
    const left = 'continuo_streams_closed_total{transport="SOCKET",reason="CLIENT"}';
    const [before, toldBefore, leftBefore] = [await valueOf(open), await valueOf(told), await valueOf(left)];
    const changes = client.iterate({ query: "subscription { stateChanges { to } }" });
    await changes.next();
    expect(await valueOf(open)).toBe(before + 1);
    expect(await valueOf(told)).toBe(toldBefore + 1);
    await client.dispose();
    await eventually(async () => expect(await valueOf(open)).toBe(before));
    await eventually(async () => expect(await valueOf(left)).toBe(leftBefore + 1));
    const age = (): Promise<number> => valueOf("continuo_revocation_age_seconds");
    expect(await age()).toBeGreaterThan(0);
    await eventually(async () => expect(await age()).toBeLessThan(3));
  });
});
