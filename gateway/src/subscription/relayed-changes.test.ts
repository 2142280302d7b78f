import { metrics } from "@continuo/process";
import { relayTopic } from "@continuo/signals";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { eventually } from "../fixtures/eventually.ts";
import { type House, type Person, startHouse } from "../fixtures/house.ts";
import { iterate } from "../fixtures/iterate.ts";
import { createTestClient, type Running, type TestClient } from "../fixtures/socket-client.ts";
import { openRelayStream, type RelayStreamOptions } from "./relay-stream.ts";

const LIVE = `subscription Live($names: [String!]) {
  heard: relayedChanges(namespaces: $names) { payload device { syncStatus { ackedRev } } }
}`;

describe("what is relayed", () => {
  let house: House;
  let ada: Person;
  let phone: TestClient;
  beforeAll(async () => {
    house = await startHouse({ waits: { recheckMs: 60_000 } });
  });
  afterAll(() => house[Symbol.asyncDispose]());
  beforeEach(async () => {
    for (const proxy of Object.values(house.proxies)) proxy.heal();
    house.state.relayed.length = 0;
    ada = house.join();
    phone = createTestClient(house.socketUrl, await house.token(ada), 5);
    return () => phone[Symbol.asyncDispose]();
  });

  const relay = ({ userId }: Person, value: string, to = userId): Promise<void> =>
    house.relays.publish(relayTopic(to), `${userId} ${value}`);
  const heard = ({ results }: Running): unknown[] => results.map(({ data }) => data?.["heard"]);
  const change = (value: string): object => ({
    payload: { type: "SET", value },
    device: { syncStatus: { ackedRev: 1 } },
  });
  const listening = (count: number): Promise<void> => eventually(() => expect(house.relays.listeners).toBe(count));

  it("comes to each of a person's devices, opened by its owner, with the fields of others", async () => {
    const live = phone.run(LIVE);
    await listening(1);
    await relay(ada, "1");
    await eventually(() => expect(heard(live)).toEqual([[change("1")]]));
    await relay(ada, "2");
    await eventually(() => expect(heard(live)).toEqual([[change("1")], [change("2")]]));
    expect(house.state.calls.at(-1)?.caller).toMatchObject({ viewer: { userId: ada.userId } });
  });

  it("tells nothing of what the owner does not open, and nobody else", async () => {
    await using other = createTestClient(house.socketUrl, await house.token(house.join()));
    const stranger = other.run(LIVE);
    const live = phone.run(LIVE);
    await listening(2);
    await relay(house.join(), "of somebody else", ada.userId);
    await eventually(() => expect(house.state.relayed).toHaveLength(1));
    await relay(ada, "1");
    await eventually(() => expect(heard(live)).toEqual([[change("1")]]));
    expect(stranger.results).toEqual([]);
  });

  it("ends with the session, and listens no more", async () => {
    const live = phone.run(LIVE);
    await listening(1);
    await house.revoke(ada.sessionId, "SIGNED_OUT");
    await eventually(() => expect(live.failure()).toMatchObject([{ extensions: { reason: "SESSION_ENDED" } }]));
    await listening(0);
    await relay(ada, "too late");
    expect(house.state.relayed).toEqual([]);
  });

  it("is lost while the owner is away, and comes again after that", async () => {
    const live = phone.run(LIVE);
    await listening(1);
    house.proxies["user-state"].down();
    await relay(ada, "lost");
    house.proxies["user-state"].heal();
    await eventually(async () => {
      await relay(ada, "again");
      expect(heard(live).at(-1)).toEqual(expect.arrayContaining([change("again")]));
    });
    expect([live.failure(), live.isComplete()]).toEqual([undefined, false]);
  });
});

describe("a stream of what is relayed", () => {
  it("reads together what came meanwhile, drops the oldest of too much, and lets go at once", async () => {
    const reads: string[][] = [];
    let send = (_text: string): void => undefined;
    let isListening = true;
    const options: RelayStreamOptions<number> = {
      listen: async (hear) => {
        send = hear;
        return {
          async [Symbol.asyncDispose]() {
            isListening = false;
          },
        };
      },
      read: async (texts) => {
        reads.push([...texts]);
        return { isEmpty: texts.includes("nothing"), event: async () => texts.length };
      },
      isOutage: () => false,
    };
    const stream = iterate((subscriber) => openRelayStream(options, subscriber));
    const dropped = async (): Promise<number> =>
      Number(/^continuo_relay_dropped_total (\d+)$/m.exec(await metrics.text())?.[1] ?? 0);
    const before = await dropped();
    send("first");
    for (let index = 0; index < 250; index += 1) send(String(index));
    expect(await dropped()).toBe(before + 50);
    expect([(await stream.next()).value, (await stream.next()).value]).toEqual([1, 50]);
    expect(reads[1]?.[0]).toBe("50");
    for (let round = 0; round < 3; round += 1) await stream.next();
    const next = stream.next();
    send("nothing");
    await eventually(() => expect(reads.at(-1)).toEqual(["nothing"]));
    await stream.return?.();
    expect(await next).toEqual({ done: true, value: undefined });
    expect(isListening).toBe(false);
  });
});
