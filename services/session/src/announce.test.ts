import type { Pokes } from "@continuo/signals";
import { expect, it } from "vitest";
import { createAnnouncer } from "./announce.ts";

it("wakes the outbox's relays for what is in the outbox, and the gateways for all", async () => {
  const poked: [string, number][] = [];
  const pokes: Pick<Pokes, "publish"> = { publish: async (...poke) => void poked.push(poke) };
  const announce = createAnnouncer(pokes);
  await announce.revoked({ seq: 7, posted: false });
  expect(poked).toEqual([["revocations", 7]]);
  await announce.revoked({ seq: 8, posted: true });
  expect(poked.slice(1)).toEqual([
    ["revocations", 8],
    ["outbox:session", 8],
  ]);
});
