import { KINDS, type Json } from "@continuo/merge";
import { describe, expect, it } from "vitest";
import type { Unit } from "../entry/unit.ts";
import { closeUnit, isHeldElsewhere, isLast, leaseOf, newestOf, nextFence, type Leased } from "./lease.ts";

const NOW = new Date(1_000_000);
const at = (ms: number): Date => new Date(NOW.getTime() + ms);
const NAME = { namespace: "media", key: "dune", field: "position", kind: "PROGRESS", schemaVersion: 2 } as const;

const leased = (about: Partial<Leased>): Leased => ({
  deviceId: "tv",
  fence: 1,
  leaseUntil: at(1),
  flush: null,
  ...about,
});
const flush = (until: number, doneAt: Date | null = null) => ({ fence: 2, until: at(until), doneAt });
const unit = (state: Json, kind: Unit["kind"] = "PROGRESS"): Unit => ({
  kind,
  state,
  rev: 1,
  schemaVersion: 1,
  bytes: 0,
  removedMs: null,
});

describe("a lease", () => {
  it.each<[string, Partial<Leased>, number, string | undefined]>([
    ["held until its time is up", {}, 1, "HELD"],
    ["expired then, though nobody has taken it", { leaseUntil: NOW }, 1, "EXPIRED"],
    ["lost to a higher fence, however long it would have lasted", {}, 2, "LEASE_LOST"],
    ["to be flushed while there is time", { flush: flush(1) }, 2, "FLUSH_REQUEST"],
    ["lost when that time is up", { flush: flush(0) }, 2, "LEASE_LOST"],
    ["lost once its device has sent what it had", { flush: flush(1, NOW) }, 2, "LEASE_LOST"],
    ["none where its device never had one", { fence: null, leaseUntil: null }, 1, undefined],
  ])("is %s", (_, about, newestFence, state) => {
    expect(leaseOf(leased(about), newestFence, NOW)?.state).toBe(state);
  });

  it("is one device's: the highest fence's", () => {
    const all = [
      leased({ deviceId: "none", fence: null, leaseUntil: null }),
      leased({ fence: 3 }),
      leased({ fence: 2 }),
    ];
    expect(newestOf(all)?.fence).toBe(3);
    expect(newestOf(all.slice(0, 1))).toBeUndefined();
    expect(isHeldElsewhere(newestOf(all), "phone", NOW)).toBe(true);
    expect(isHeldElsewhere(newestOf(all), "tv", NOW)).toBe(false);
    expect(isHeldElsewhere(leased({ leaseUntil: NOW }), "phone", NOW)).toBe(false);
  });

  it("has a higher fence than any before it, also than one that only the unit remembers", () => {
    const remembered = unit({ ...KINDS.PROGRESS.initial, fence: 7 });
    expect(nextFence(undefined, undefined)).toBe(1);
    expect(nextFence(leased({ fence: 4 }), undefined)).toBe(5);
    expect(nextFence(leased({ fence: 4 }), remembered)).toBe(8);
    expect(nextFence(undefined, unit({ value: 7 }, "COUNTER"))).toBe(1);
    expect([7, 8, 6].map((fence) => isLast(leased({ fence }), remembered))).toEqual([true, true, false]);
  });
});

describe("a unit that is closed to older fences", () => {
  const closing = { fence: 2, rev: 9, now: NOW };

  it("keeps what is in it", () => {
    const before = unit({ ...KINDS.PROGRESS.initial });
    expect(closeUnit(before, NAME, closing)).toMatchObject({
      state: { fence: 2, devices: [] },
      rev: 9,
      schemaVersion: 1,
    });
    expect(closeUnit(unit({ ...KINDS.PROGRESS.initial, fence: 2 }), NAME, closing)).toBeUndefined();
  });

  it("is made where nobody has written it, and shows nothing", () => {
    expect(closeUnit(undefined, NAME, closing)).toMatchObject({
      deleted: true,
      schemaVersion: 2,
      removedMs: 1_000_000,
    });
  });

  it("is one of progress only", () => {
    expect(closeUnit(undefined, { ...NAME, kind: "DRAFT" }, closing)).toBeUndefined();
    expect(closeUnit(unit({ standing: null, history: [] }, "REGISTER"), NAME, closing)).toBeUndefined();
  });
});
