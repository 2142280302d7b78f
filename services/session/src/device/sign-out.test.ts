import { describe, expect, it } from "vitest";
import type { Session } from "../session/session.ts";
import type { Replica } from "../revocation/revocation.ts";
import { signOutOf, type LastSession } from "./sign-out.ts";

const now = new Date("2026-11-24T12:00:00Z");
const at = (seconds: number): Date => new Date(now.getTime() + seconds * 1_000);

const session: Session = {
  id: "s",
  userId: "u",
  deviceId: "d",
  applicationId: "continuo",
  parentId: null,
  policyVersion: 1,
  acr: "aal1",
  amr: ["pwd"],
  authTime: at(-500),
  startedAt: at(-500),
  lastActiveAt: at(-100),
  idleDeadline: at(3_600),
  absoluteDeadline: at(7_200),
  state: "REVOKED",
  endedAt: at(-10),
  ipPrefix: null,
  country: null,
  endReason: "SIGNED_OUT_REMOTELY",
};
const ack = (replica: string, seconds: number, socketsClosed = 0): LastSession["acks"][number] => ({
  replica,
  at: at(seconds),
  socketsClosed,
});
const last = (acks: LastSession["acks"], changes: Partial<Session> = {}, lastTokenBy = at(290)): LastSession => ({
  session: { ...session, ...changes },
  lastTokenBy,
  mayBeOpen: false,
  acks,
});
const heard = (name: string, seconds: number): Replica => ({ name, heardAt: at(seconds) });

describe("a sign-out", () => {
  it.each([
    ["no gateway has answered", [], ["a"], 0, null],
    ["one of two has answered", [ack("a", -9)], ["a", "b"], 0, null],
    ["both have answered", [ack("a", -9), ack("b", -8)], ["a", "b"], 0, -8],
    ["one has answered and the other has fallen silent", [ack("a", -9)], ["a"], 0, -9],
    ["one has answered, and was stopped since", [ack("a", -9)], [], 0, -9],
    ["none is known", [], [], 0, null],
    ["one never answered, but the last token is past its life", [ack("a", -9)], ["a", "b"], 290, 290],
    [
      "the last to answer did so when the last token was past its life",
      [ack("a", -9), ack("b", 295)],
      ["a", "b"],
      300,
      290,
    ],
    ["none was known, but the last token is past its life", [], [], 290, 290],
    ["all answered long ago, and a new gateway is there", [ack("a", -9)], ["a", "c"], 400, 290],
  ] as const)("%s: locked out %#", (_case, acks, replicas, nowSeconds, lockedOut) => {
    const there = replicas.map((name) => heard(name, nowSeconds));
    const shown = signOutOf(last(acks), there, at(nowSeconds));
    expect(shown?.lockedOutAt ?? null).toEqual(lockedOut === null ? null : at(lockedOut));
    expect(shown?.effectiveBy).toEqual(at(290));
  });

  it("waits for a gateway that has fallen silent while that may still let it in", () => {
    const acks = [ack("a", -9)];
    const silent = (seconds: number): Replica[] => [heard("a", 0), heard("b", seconds)];
    const open = { ...last(acks), mayBeOpen: true };
    expect(signOutOf(last(acks), silent(-9), now)?.lockedOutAt).toBeNull();
    expect(signOutOf(last(acks), silent(-11), now)?.lockedOutAt).toEqual(at(-9));
    expect(signOutOf(open, silent(-959), now)?.lockedOutAt).toBeNull();
    expect(signOutOf(open, silent(-961), now)?.lockedOutAt).toEqual(at(-9));
  });

  it("is confirmed by the first closed connection", () => {
    const acks = [ack("a", -9), ack("b", -7, 2), ack("c", -8, 1)];
    expect(signOutOf(last(acks), [], now)?.confirmedAt).toEqual(at(-8));
    expect(signOutOf(last([ack("a", -9)]), [], now)?.confirmedAt).toBeNull();
  });

  it("by a deadline is effective at the deadline, whenever it was written down", () => {
    const lapsed = { idleDeadline: at(-60) };
    const expected = {
      requestedAt: at(-60),
      reason: "IDLE",
      lockedOutAt: at(-60),
      effectiveBy: at(-60),
      confirmedAt: null,
    };
    for (const written of [
      { state: "ACTIVE", endedAt: null, endReason: null },
      { state: "EXPIRED", endedAt: at(-55), endReason: "IDLE" },
    ] as const) {
      expect(signOutOf(last([], { ...lapsed, ...written }, at(-60)), [heard("a", 0)], now)).toEqual(expected);
    }
  });

  it("has not happened while the session is live", () => {
    expect(signOutOf(last([], { state: "ACTIVE", endedAt: null, endReason: null }), [], now)).toBeNull();
  });
});
