/** What a relay guarantees on either backend. */
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { Bus, OpenBus } from "./fixtures/bus.ts";
import { silent } from "./fixtures/settings.ts";
import { openRelays } from "./open-relays.ts";
import { MAX_RELAY_BYTES, type Relays } from "./relays.ts";

const soon = { timeout: 60_000, interval: 10 };

export function describeRelays(name: string, openBus: OpenBus): void {
  describe(`relays over ${name}`, () => {
    let bus: Bus;
    beforeAll(async () => {
      bus = await openBus();
    });
    afterAll(() => bus[Symbol.asyncDispose]());
    const open = (): Promise<Relays> => openRelays({ ...bus, logger: silent, probeEveryMs: 200 });

    test("what is sent reaches everybody who listens, in its order, and nobody else", async () => {
      await using here = await open();
      await using there = await open();
      const [topic, other] = [`relay:${randomUUID()}`, randomUUID()];
      const heard: Record<string, string[]> = { here: [], there: [], stranger: [] };
      await here.subscribe(topic, (text) => heard["here"]?.push(text));
      await there.subscribe(topic, (text) => heard["there"]?.push(text));
      await there.subscribe(other, (text) => heard["stranger"]?.push(text));
      const texts = ["one", "two 2", "three:3"];
      for (const text of texts) await here.publish(topic, text);
      await here.publish(other, "last");
      await vi.waitFor(() => expect(heard).toEqual({ here: texts, there: texts, stranger: ["last"] }), soon);
    });

    test("what was sent before nobody hears, nor what comes after one has left", async () => {
      await using relays = await open();
      const topic = randomUUID();
      await relays.publish(topic, "too early");
      const heard: string[] = [];
      const ear = await relays.subscribe(topic, (text) => heard.push(text));
      await relays.publish(topic, "in time");
      await vi.waitFor(() => expect(heard).toEqual(["in time"]), soon);
      const rest: string[] = [];
      await relays.subscribe(topic, (text) => rest.push(text));
      await ear[Symbol.asyncDispose]();
      await relays.publish(topic, "too late");
      await vi.waitFor(() => expect(rest).toEqual(["too late"]), soon);
      expect(heard).toEqual(["in time"]);
    });

    test("as much as it carries arrives, and more is refused", async () => {
      await using relays = await open();
      const topic = "t".repeat(255);
      const heard: string[] = [];
      await relays.subscribe(topic, (text) => heard.push(text));
      const full = "é".repeat(MAX_RELAY_BYTES / 2);
      await relays.publish(topic, full);
      await vi.waitFor(() => expect(heard).toEqual([full]), soon);
      await expect(relays.publish(topic, `${full}x`)).rejects.toThrow(RangeError);
    });

    test("an outage loses what falls into it, and is over by itself", async () => {
      await using relays = await open();
      const topic = randomUUID();
      const heard: string[] = [];
      await relays.subscribe(topic, (text) => heard.push(text));
      bus.proxy.down();
      const told = vi.spyOn(silent, "warn");
      vi.useFakeTimers({ toFake: ["performance"] });
      for (let n = 0; n < 3; n += 1) await relays.publish(topic, "lost");
      vi.useRealTimers();
      expect(told.mock.calls.filter(([, message]) => /nothing was relayed/.test(String(message)))).toHaveLength(1);
      bus.proxy.heal();
      await vi.waitFor(async () => {
        await relays.publish(topic, "again");
        expect(heard).toContain("again");
      }, soon);
      expect(heard).not.toContain("lost");
    });

    test("an ear that throws harms no other, and a closed relay says so", async () => {
      const relays = await open();
      const topic = randomUUID();
      const heard: string[] = [];
      await relays.subscribe(topic, () => {
        throw new Error("deaf");
      });
      await relays.subscribe(topic, (text) => heard.push(text));
      await relays.publish(topic, "heard");
      await vi.waitFor(() => expect(heard).toEqual(["heard"]), soon);
      await relays[Symbol.asyncDispose]();
      for (const call of [relays.publish(topic, ""), relays.subscribe(topic, () => undefined)])
        await expect(call).rejects.toMatchObject({ code: "UNAVAILABLE", reason: "RELAYS_CLOSED" });
    });
  });
}
