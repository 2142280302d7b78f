import { describe, expect, it } from "vitest";
import { applyOp, type Arrival } from "./apply-op.ts";
import { replicaId } from "./history.fixture.ts";
import { KINDS } from "./registry.ts";

const NOON = Date.UTC(2026, 10, 24, 12);
const DAY_MS = 86_400_000;

/** Arrives from a replica whose clock is wrong by `skew`. */
function from(replica: number, rev: number, skew = 0): Arrival {
  const clientId = replicaId(replica);
  return { clientId, deviceId: replicaId(replica, "d"), clientNow: NOON + skew, serverNow: NOON, rev };
}

describe("an op", () => {
  it("counts by the true time of writing, not by its author's clock", () => {
    const set = (value: string, ageMs: number, skew = 0) => ({
      payload: { type: "SET", value } as const,
      stamp: { ms: NOON + skew - ageMs, counter: 0 },
      seen: null,
      baseRev: 0,
    });
    const laptop = applyOp(KINDS.REGISTER, KINDS.REGISTER.initial, set("laptop", 60_000), from(1, 1));
    const ahead = 2 * DAY_MS;
    const phone = applyOp(KINDS.REGISTER, laptop.state, set("phone", 3_600_000, ahead), from(0, 2, ahead));
    expect(phone).toMatchObject({ outcome: "MERGED", stamp: { ms: NOON - 3_600_000 } });
    expect(KINDS.REGISTER.view(phone.state)).toBe("laptop");
  });

  it("comes after what its author had seen, in each kind that goes by stamps", () => {
    const late = { stamp: { ms: NOON, counter: 0 }, seen: null, baseRev: 0 };
    const early = { stamp: { ms: 0, counter: 0 }, seen: { ms: NOON, counter: 0 }, baseRev: 1 };
    const report = { type: "REPORT", epoch: 0, position: 1, duration: null, unit: "SECONDS", intent: "PLAY" } as const;
    const insert = { type: "INSERT", id: "a", value: 1, position: "a0" } as const;

    const map = applyOp(
      KINDS.MAP,
      KINDS.MAP.initial,
      { ...late, payload: { type: "SET", name: "a", value: 1 } },
      from(1, 1),
    );
    const draft = applyOp(
      KINDS.DRAFT,
      KINDS.DRAFT.initial,
      { ...late, payload: { type: "EDIT", generation: 0, name: "a", value: 1 } },
      from(1, 1),
    );
    const list = applyOp(KINDS.LIST, KINDS.LIST.initial, { ...late, payload: insert }, from(1, 1));
    const progress = applyOp(KINDS.PROGRESS, KINDS.PROGRESS.initial, { ...late, payload: report }, from(1, 1));
    const after = [
      applyOp(KINDS.MAP, map.state, { ...early, payload: { type: "SET", name: "a", value: 2 } }, from(0, 2)),
      applyOp(
        KINDS.DRAFT,
        draft.state,
        { ...early, payload: { type: "EDIT", generation: 0, name: "a", value: 2 } },
        from(0, 2),
      ),
      applyOp(KINDS.LIST, list.state, { ...early, payload: { ...insert, value: 2 } }, from(0, 2)),
      applyOp(KINDS.LIST, list.state, { ...early, payload: { type: "MOVE", id: "a", position: "a1" } }, from(0, 2)),
      applyOp(KINDS.LIST, list.state, { ...early, payload: { type: "SET", id: "a", value: 2 } }, from(0, 2)),
      applyOp(KINDS.PROGRESS, progress.state, { ...early, payload: { ...report, position: 2 } }, from(0, 2)),
    ];
    for (const { outcome, stamp } of after)
      expect({ outcome, stamp }).toEqual({
        outcome: "APPLIED",
        stamp: { ms: NOON, counter: 1, clientId: replicaId(0) },
      });
  });

  it("that is a heartbeat is not put after what other devices did", () => {
    const report = { type: "REPORT", epoch: 0, position: 1, duration: null, unit: "SECONDS", intent: "PLAY" } as const;
    const op = { payload: report, stamp: { ms: NOON, counter: 0 }, seen: null, baseRev: 0 };
    const { state } = applyOp(KINDS.PROGRESS, KINDS.PROGRESS.initial, op, from(1, 1));
    const heartbeat = {
      ...op,
      payload: { ...report, intent: "PASSIVE" as const },
      stamp: { ms: 5, counter: 0 },
      seen: op.stamp,
    };
    expect(applyOp(KINDS.PROGRESS, state, heartbeat, from(0, 2)).stamp.ms).toBe(5);
  });

  it("cannot claim to have seen what was not there", () => {
    const op = { stamp: { ms: NOON, counter: 0 }, seen: null, baseRev: 0 };
    const { state } = applyOp(
      KINDS.SET,
      KINDS.SET.initial,
      { ...op, payload: { type: "ADD", element: "a" } },
      from(1, 7),
    );
    const future = { ...op, baseRev: Number.MAX_SAFE_INTEGER };
    const added = applyOp(KINDS.SET, state, { ...future, payload: { type: "ADD", element: "b" } }, from(0, 7));
    expect(applyOp(KINDS.SET, added.state, { ...future, payload: { type: "DELETE" } }, from(2, 7))).toMatchObject({
      outcome: "MERGED",
      state: added.state,
    });
  });
});
