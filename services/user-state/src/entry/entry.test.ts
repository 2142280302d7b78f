import { randomUUID } from "node:crypto";
import { expect, it } from "vitest";
import { NAMESPACES } from "../simulation/life.ts";
import { createMemory, USER } from "../simulation/memory.ts";
import { viewerOn } from "../simulation/server.ts";
import { createEntries, PassingFault, type EntryStore } from "./entry.ts";
import { DEFAULT_QUOTA } from "./quota.ts";

it("a push that was undone announces nothing, also when another one has moved the head meanwhile", async () => {
  const epoch = randomUUID();
  const memory = createMemory(epoch, { now: () => 1, counts: { expired: 0 } });
  const announced: string[] = [];
  const entriesOn = (store: EntryStore) =>
    createEntries({
      store,
      namespaces: NAMESPACES,
      quota: DEFAULT_QUOTA,
      newEpoch: randomUUID,
      changed: (userId) => announced.push(userId),
    });
  const push = (store: EntryStore) => {
    const op = { namespace: "life", key: "k", field: "title", payload: { type: "SET", value: 1 }, schemaVersion: 1 };
    const ops = [{ ...op, seq: 1, stamp: { ms: 1, counter: 0 }, seen: null, baseRev: 0 }];
    return entriesOn(store).push(viewerOn(randomUUID()), {
      clientId: randomUUID(),
      epoch,
      clientNow: 1,
      baseRev: 0,
      ops,
    });
  };
  const unlucky: EntryStore = {
    ...memory.entries,
    async settle(_request, decide) {
      const { head, units } = memory.stored();
      decide({ ...head, serverNow: 1, client: undefined, siblings: 0, units, answers: new Map() });
      await push(memory.entries);
      throw new PassingFault("a deadlock");
    },
  };
  expect(await push(unlucky)).toMatchObject({ stop: "RETRY", outcomes: [], headRev: 1 });
  expect(announced).toEqual([USER]);
});
