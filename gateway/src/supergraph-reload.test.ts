/** A gateway whose supergraph is replaced while it serves. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { eventually } from "./fixtures/eventually.ts";
import { type House, startHouse } from "./fixtures/house.ts";
import { createTestClient, type Running } from "./fixtures/socket-client.ts";
import { hashOf } from "./graph/apollo-graph.ts";
import { loadSupergraph } from "./graph/supergraph-file.ts";

const SUPERGRAPH = loadSupergraph();
const ASKING_AT_ONCE = 4;
const Ready = z.object({
  ready: z.boolean(),
  supergraph: z.object({ hash: z.string(), refused: z.string().optional() }),
});

let made = 0;

/** A new text of the same graph, or of what `change` returns for it. */
function other(change: (sdl: string) => string = (sdl) => sdl): string {
  made += 1;
  return `${change(SUPERGRAPH)}\n# ${made}\n`;
}

/** A state's batches have no `serverNow` any more. */
const withoutClock = (sdl: string): string => sdl.replace(/(?<=type StateBatch[^}]*) {2}serverNow: SafeInt!\n/, "");

/** Operations with `serverNow` exceed the cost limit. */
const withDearClock = (sdl: string): string =>
  sdl.replace(/(?<=type StateBatch[^}]* {2}serverNow: SafeInt!)/, " @cost(weight: 1000000)");

/** Changes of state are told under another topic. */
const elsewhere = (sdl: string): string => sdl.replace(`topic: "state:{userId}"`, `topic: "elsewhere:{userId}"`);

/** What was relayed is streamed by its owner. */
const streamed = (sdl: string): string =>
  sdl
    .replace(`["@live", "@relayed"]`, `["@live", "@relayed", "@streamed"]`)
    .replace("directive @relayed", "directive @streamed on FIELD_DEFINITION\n\ndirective @relayed")
    .replace(`@relayed(query: "relayedChanges", topic: "relay:{userId}")`, "@streamed");

describe("a gateway", () => {
  let directory: string;
  let house: House;
  const file = (): string => join(directory, "supergraph.graphql");
  const ready = async (): Promise<z.infer<typeof Ready>> =>
    Ready.parse(await (await fetch(`${house.url}/ready`)).json());

  /** Puts a supergraph in place and waits until it serves. */
  async function replaceBy(text: string): Promise<void> {
    await writeFile(file(), text);
    await eventually(async () => expect((await ready()).supergraph.hash).toBe(hashOf(text)));
  }

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "reload-"));
    await writeFile(file(), SUPERGRAPH);
    house = await startHouse({
      env: { SUPERGRAPH_FILE: file() },
      waits: { lookEveryMs: 20, recheckMs: 60_000, backoffMs: () => 10 },
    });
  });
  afterAll(async () => {
    await house[Symbol.asyncDispose]();
    await rm(directory, { recursive: true });
  });

  it("answers every request over three replacements of its supergraph", async () => {
    const ada = house.join(2);
    const token = await house.token(ada);
    const over = new AbortController();
    const answers: unknown[] = [];
    const ask = async (): Promise<void> => {
      while (!over.signal.aborted) {
        const { status, body } = await house.graphql(
          "{ me { id } viewer { devices { nodes { id name syncStatus { ackedRev } } } } }",
          { token },
        );
        answers.push({ status, errors: body.errors, me: body.data?.["me"] });
      }
    };
    const asking = Array.from({ length: ASKING_AT_ONCE }, ask);
    for (let nth = 0; nth < 3; nth += 1) {
      const answered = answers.length;
      await eventually(() => expect(answers.length).toBeGreaterThan(answered + ASKING_AT_ONCE));
      await replaceBy(other());
    }
    over.abort();
    await Promise.all(asking);
    const expected = { status: 200, errors: undefined, me: { id: ada.userId } };
    expect(answers).toEqual(answers.map(() => expected));
  });

  it("ends a request on the graph that it began on, and begins the next on the new one", async () => {
    const ada = house.join();
    const token = await house.token(ada);
    const query = "{ pullState(waitMs: 1500) { to serverNow } }";
    house.state.pulls.length = 0;
    const begun = house.graphql(query, { token });
    await eventually(() => expect(house.state.pulls).toHaveLength(1));
    await replaceBy(other(withoutClock));
    expect((await begun).body).toEqual({ data: { pullState: { to: "s0", serverNow: 0 } } });
    expect((await house.graphql(query, { token })).body.errors).toMatchObject([
      { message: expect.stringContaining("serverNow"), extensions: { code: "BAD_USER_INPUT" } },
    ]);
    await replaceBy(other());
    expect((await house.graphql(query.replace("1500", "0"), { token })).body.errors).toBeUndefined();
  });

  it.each([
    ["no text of a graph", "type {"],
    ["half of one", SUPERGRAPH.slice(0, SUPERGRAPH.length / 2)],
    [
      "one with a subgraph that nobody knows",
      SUPERGRAPH.replaceAll(`@join__graph(name: "session"`, `@join__graph(name: "shop"`),
    ],
    [
      "one that needs what the gateway cannot do",
      SUPERGRAPH.replace("schema\n", `schema\n  @link(url: "https://specs.apollo.dev/unheard/v0.1", for: SECURITY)\n`),
    ],
    ["one whose subscription has no source", SUPERGRAPH.replaceAll(/@live\(.*?\)/g, "")],
  ])("keeps its supergraph when the file is %s", async (_what, text) => {
    const { hash } = (await ready()).supergraph;
    await writeFile(file(), text);
    await eventually(async () => expect((await ready()).supergraph.refused).toBe(hashOf(text)));
    expect(await ready()).toMatchObject({ ready: true, supergraph: { hash } });
    const token = await house.token(house.join());
    expect((await house.graphql("{ me { id } }", { token })).body.errors).toBeUndefined();
    await replaceBy(other());
    expect((await ready()).supergraph.refused).toBeUndefined();
  });

  it("goes on with open streams, without a gap or a repetition", async () => {
    const ada = house.join(2);
    await using phone = createTestClient(house.socketUrl, await house.token(ada));
    const live = phone.run("subscription { stateChanges { from to entries { key } } }");
    const devices = phone.run("subscription { deviceChanged { to devices { name syncStatus { ackedRev } } } }");
    await eventually(() => expect([live, devices].map(({ results }) => results.length)).toEqual([1, 1]));
    const written: string[] = [];
    for (let nth = 0; nth < 12; nth += 1) {
      const key = `k${nth}`;
      written.push(key);
      await house.write(ada, key, nth);
      if (nth % 4 === 1) await replaceBy(other());
    }
    await house.rename(ada, "Renamed");
    await eventually(() => expect(keysIn(live)).toEqual(written));
    await eventually(() =>
      expect(devices.results.at(-1)?.data).toMatchObject({
        deviceChanged: { devices: [{ name: "Renamed", syncStatus: { ackedRev: expect.any(Number) } }] },
      }),
    );
    const pages = live.results.map(({ data }) => Page.parse(data).stateChanges);
    expect(pages.map(({ from }) => from)).toEqual([null, ...pages.slice(0, -1).map(({ to }) => to)]);
    expect([live.failure(), devices.failure()]).toEqual([undefined, undefined]);
  });

  it.each([
    ["whose field is gone", withoutClock],
    ["that costs too much now", withDearClock],
  ])("ends a stream %s at its next event, with a code, and no other", async (_what, change) => {
    const ada = house.join();
    await using phone = createTestClient(house.socketUrl, await house.token(ada));
    const over = phone.run("subscription { stateChanges { to serverNow } }");
    const stays = phone.run("subscription { stateChanges { to } }");
    await eventually(() => expect([over, stays].map(({ results }) => results.length)).toEqual([1, 1]));
    await replaceBy(other(change));
    await house.write(ada, "k", 1);
    await eventually(() =>
      expect(over.failure()).toMatchObject([{ extensions: { code: "BAD_USER_INPUT", reason: "SCHEMA_CHANGED" } }]),
    );
    await eventually(() => expect(stays.results).toHaveLength(2));
    expect([over.results.length, stays.failure(), phone.closes]).toEqual([1, undefined, []]);
    await replaceBy(other());
  });

  it("subscribes at an owner that streams by itself; a break there is told, and the session's end is heard there", async () => {
    await replaceBy(other(streamed));
    const ada = house.join();
    await using phone = createTestClient(house.socketUrl, await house.token(ada));
    const run = async (): Promise<Running> => {
      const live = phone.run("subscription { relayedChanges { payload device { syncStatus { ackedRev } } } }");
      const told = { payload: { type: "SET", value: "streamed" }, device: { syncStatus: { ackedRev: 1 } } };
      await eventually(() => expect(live.results).toEqual([{ data: { relayedChanges: [told] } }]));
      expect(house.state.streaming).toBe(1);
      return live;
    };
    const ended = (live: Running, reason: string): Promise<void> =>
      eventually(() => {
        expect(live.failure()).toMatchObject([{ extensions: { reason } }]);
        expect(house.state.streaming).toBe(0);
      });
    const first = await run();
    house.proxies["user-state"].cut();
    await ended(first, "EVENTS_MISSED");
    const second = await run();
    await house.revoke(ada.sessionId, "SIGNED_OUT");
    await ended(second, "SESSION_ENDED");
    await replaceBy(other());
  });

  it("ends a stream whose events come from elsewhere now", async () => {
    const ada = house.join();
    await using phone = createTestClient(house.socketUrl, await house.token(ada));
    const live = phone.run("subscription { stateChanges { to } }");
    await eventually(() => expect(live.results).toHaveLength(1));
    await replaceBy(other(elsewhere));
    await house.write(ada, "k", 1);
    await eventually(() =>
      expect(live.failure()).toMatchObject([{ extensions: { code: "CONFLICT", reason: "SCHEMA_CHANGED" } }]),
    );
    await replaceBy(other());
  });
});

const Page = z.object({
  stateChanges: z.object({
    from: z.string().nullable(),
    to: z.string(),
    entries: z.array(z.object({ key: z.string() })),
  }),
});

function keysIn({ results }: Running): string[] {
  return results.flatMap(({ data }) => Page.parse(data).stateChanges.entries.map(({ key }) => key));
}
