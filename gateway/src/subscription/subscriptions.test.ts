import { AppError } from "@continuo/errors";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { eventually } from "../fixtures/eventually.ts";
import { type House, type Person, startHouse } from "../fixtures/house.ts";
import { createTestClient, type Running, type TestClient } from "../fixtures/socket-client.ts";

describe("a subscription across subgraphs", () => {
  let house: House;
  let ada: Person;
  let phone: TestClient;
  beforeAll(async () => {
    house = await startHouse({ waits: { recheckMs: 60_000 } });
  });
  afterAll(() => house[Symbol.asyncDispose]());
  beforeEach(async () => {
    for (const proxy of Object.values(house.proxies)) proxy.heal();
    house.state.syncStatusFault = undefined;
    house.state.pageSize = 100;
    house.state.pulls.length = 0;
    ada = house.join(2);
    phone = createTestClient(house.socketUrl, await house.token(ada), 5);
    return () => phone[Symbol.asyncDispose]();
  });

  const data = ({ results }: Running): unknown[] => results.map((result) => result.data);

  it("delivers nodes with fields of two subgraphs: all of them first, then each change", async () => {
    const live = phone.run(`subscription { deviceChanged { from to devices { name syncStatus { ackedRev } } } }`);
    await eventually(() => expect(live.results).toHaveLength(1));
    await house.rename(ada, "Ada's phone");
    await eventually(() => expect(live.results).toHaveLength(2));
    const device = (name: string): object => ({ name, syncStatus: { ackedRev: 1 } });
    expect(live.results).toEqual([
      { data: { deviceChanged: { from: null, to: "d2", devices: [device("Device 1"), device("Device 2")] } } },
      { data: { deviceChanged: { from: "d2", to: "d3", devices: [device("Ada's phone")] } } },
    ]);
  });

  it("understands aliases, fragments, conditions, defaults, and a cursor given either way", async () => {
    await house.write(ada, "a", 1);
    await house.write(ada, "b", 2);
    const query = `
      subscription Live($since: String = "s1", $withValue: Boolean!) {
        changes: stateChanges(since: $since) { __typename ...Batch to: from }
      }
      fragment Batch on StateBatch { entries { key cursor_to: rev value @include(if: $withValue) } }`;
    const byDefault = phone.run(query, { withValue: true });
    const byVariable = phone.run(query, { withValue: false, since: "s2" });
    const byLiteral = phone.run(`subscription { stateChanges(since: "s1") { entries { key } } }`);
    const running = [byDefault, byVariable, byLiteral];
    await eventually(() => expect(running.map(({ results }) => results.length)).toEqual([1, 1, 1]));
    const typed = { __typename: "StateBatch" };
    expect(running.map(data)).toEqual([
      [{ changes: { ...typed, entries: [{ key: "b", cursor_to: 2, value: 2 }], to: "s1" } }],
      [{ changes: { ...typed, entries: [], to: "s2" } }],
      [{ stateChanges: { entries: [{ key: "b" }] } }],
    ]);
    await house.write(ada, "c", 3);
    await eventually(() => expect(running.map(({ results }) => results.length)).toEqual([2, 2, 2]));
    expect(data(byVariable)[1]).toEqual({ changes: { ...typed, entries: [{ key: "c", cursor_to: 3 }], to: "s2" } });
  });

  it("chains batches until there is no more", async () => {
    house.state.pageSize = 2;
    for (let index = 0; index < 5; index += 1) await house.write(ada, `k${index}`, index);
    const live = phone.run(`subscription { stateChanges { from to hasMore } }`);
    await eventually(() => expect(live.results).toHaveLength(3));
    expect(data(live)).toEqual([
      { stateChanges: { from: null, to: "s2", hasMore: true } },
      { stateChanges: { from: "s2", to: "s4", hasMore: true } },
      { stateChanges: { from: "s4", to: "s5", hasMore: false } },
    ]);
  });

  it("speaks for the client's replica: each read confirms what was passed on before it", async () => {
    const live = phone.run(`subscription { stateChanges(since: "s0", clientId: "c1") { to } }`);
    await eventually(() => expect(live.results).toHaveLength(1));
    await house.write(ada, "a", 1);
    await eventually(() => expect(live.results).toHaveLength(2));
    expect(house.state.pulls).toEqual([
      { since: "s0", clientId: "c1" },
      { since: "s0", clientId: "c1" },
    ]);
    await house.write(ada, "b", 1);
    await eventually(() => expect(house.state.pulls.at(-1)).toEqual({ since: "s1", clientId: "c1" }));
  });

  it("is read once for all sessions of a person that ask the same, and for each replica by itself", async () => {
    const clients = await Promise.all(
      Array.from({ length: 5 }, async () => createTestClient(house.socketUrl, await house.token(ada))),
    );
    const stranger = createTestClient(house.socketUrl, await house.token(house.join()));
    await using closing = new AsyncDisposableStack();
    for (const client of [...clients, stranger]) closing.use(client);
    const alike = clients.map((client) => client.run(`subscription { stateChanges { to entries { key } } }`));
    const replicas = clients.slice(0, 2).map((client, index) =>
      client.run(`subscription ($id: ID) { stateChanges(clientId: $id) { to entries { key } } }`, {
        id: `c${index}`,
      }),
    );
    const other = stranger.run(`subscription { stateChanges { to entries { key } } }`);
    const all = [...alike, ...replicas];
    await eventually(() =>
      expect([...all, other].map(({ results }) => results.length)).toEqual(all.map(() => 1).concat(1)),
    );
    house.state.pulls.length = 0;
    await house.write(ada, "k", 1);
    await eventually(() => expect(all.map(({ results }) => results.length)).toEqual(all.map(() => 2)));
    for (const running of all)
      expect(data(running)[1]).toEqual({ stateChanges: { to: "s1", entries: [{ key: "k" }] } });
    expect(other.results).toHaveLength(1);
    const asked = house.state.pulls.map(({ clientId }) => clientId ?? "anybody").sort();
    expect(asked).toEqual(["anybody", "c0", "c1"]);
  });

  it("tells nobody else", async () => {
    await using other = createTestClient(house.socketUrl, await house.token(house.join()));
    const stranger = other.run(`subscription { stateChanges { entries { key } } }`);
    const own = phone.run(`subscription { stateChanges { entries { key } } }`);
    await eventually(() => expect([own.results.length, stranger.results.length]).toEqual([1, 1]));
    await house.write(ada, "secret", 1);
    await eventually(() => expect(own.results).toHaveLength(2));
    expect(stranger.results).toHaveLength(1);
  });

  it("reads again after a gap", async () => {
    const live = phone.run(`subscription { stateChanges { to } }`);
    await eventually(() => expect(live.results).toHaveLength(1));
    house.pokes.lose = true;
    await house.write(ada, "a", 1);
    house.pokes.lose = false;
    house.pokes.gap();
    await eventually(() => expect(data(live).at(-1)).toEqual({ stateChanges: { to: "s1" } }));
  });

  it("outlives an outage of the owner without a word, and loses nothing", async () => {
    const live = phone.run(`subscription { stateChanges { from to } }`);
    await eventually(() => expect(live.results).toHaveLength(1));
    house.proxies["user-state"].down();
    await house.write(ada, "a", 1);
    await house.write(ada, "b", 2);
    house.proxies["user-state"].heal();
    await eventually(() => expect(data(live).at(-1)).toEqual({ stateChanges: { from: "s0", to: "s2" } }));
    expect([live.failure(), live.isComplete()]).toEqual([undefined, false]);
  });

  it("says which places are missing while another subgraph is away, and goes on", async () => {
    const live = phone.run(`subscription { deviceChanged { devices { name syncStatus { ackedRev } } } }`);
    await eventually(() => expect(live.results).toHaveLength(1));
    house.proxies["user-state"].down();
    await house.rename(ada, "one");
    await eventually(() => expect(live.results).toHaveLength(2));
    house.proxies["user-state"].heal();
    await house.rename(ada, "two");
    await eventually(() => expect(live.results).toHaveLength(3));
    expect(live.results.slice(1)).toEqual([
      {
        data: { deviceChanged: { devices: [{ name: "one", syncStatus: null }] } },
        errors: [
          {
            message: expect.any(String),
            path: ["deviceChanged", "devices", 0],
            extensions: { code: "UNAVAILABLE", reason: "SUBGRAPH_UNAVAILABLE", requestId: expect.any(String) },
          },
        ],
      },
      { data: { deviceChanged: { devices: [{ name: "two", syncStatus: { ackedRev: 1 } }] } } },
    ]);
  });

  it("masks another subgraph's bug", async () => {
    house.state.syncStatusFault = new AppError("INTERNAL_SERVER_ERROR", "SECRET", "table secret is missing");
    const live = phone.run(`subscription { deviceChanged { devices { syncStatus { ackedRev } } } }`);
    await eventually(() => expect(live.results).toHaveLength(1));
    const requestId = house.state.calls.findLast(({ subgraph }) => subgraph === "user-state")?.requestId;
    expect(live.results[0]?.errors?.[0]).toMatchObject({
      path: ["deviceChanged", "devices", 0, "syncStatus"],
      extensions: { code: "INTERNAL_SERVER_ERROR", reason: "UNEXPECTED", requestId },
    });
    expect(JSON.stringify(live.results)).not.toMatch(/secret|serviceName/i);
  });

  it("loses and repeats nothing over a killed socket, for a client that resumes with its cursor", async () => {
    const seen: string[] = [];
    let cursor: string | null = null;
    let stop = (): void => undefined;
    const follow = (client: TestClient): void => {
      stop = client.client.subscribe<{ stateChanges: { from: string | null; to: string; entries: { key: string }[] } }>(
        {
          query: `subscription ($since: String) { stateChanges(since: $since) { from to entries { key } } }`,
          variables: { since: cursor },
        },
        {
          next({ data }) {
            if (data?.stateChanges.from !== cursor) throw new Error("a batch does not join on");
            seen.push(...data.stateChanges.entries.map(({ key }) => key));
            cursor = data.stateChanges.to;
          },
          error: () => undefined,
          complete: () => undefined,
        },
      );
    };
    const expected: string[] = [];
    for (let round = 0; round < 5; round += 1) {
      await using client = createTestClient(house.socketUrl, await house.token(ada));
      follow(client);
      const keys = ["a", "b", "c", "d"].map((letter) => `${letter}${round}`);
      expected.push(...keys);
      for (const key of keys.slice(0, 2)) await house.write(ada, key, round);
      await eventually(() => expect(seen.length).toBeGreaterThan(round * 4));
      for (const key of keys.slice(2)) await house.write(ada, key, round);
      client.client.terminate();
      stop();
    }
    await using client = createTestClient(house.socketUrl, await house.token(ada));
    follow(client);
    await eventually(() => expect(seen).toEqual(expected));
  });
});
