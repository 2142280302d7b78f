import type { AppError } from "@continuo/errors";
import { createLogger } from "@continuo/process";
import { describe, expect, it } from "vitest";
import { expiryOfToken, type Authorization } from "./access-token.ts";
import { createRefreshTokenCodec } from "./refresh-token.ts";
import { createRotation, judge, type GrantState, type Presenter } from "./rotation.ts";

const now = new Date("2026-11-24T12:00:00Z");
const later = (ms: number): Date => new Date(now.getTime() + ms);
const HOUR = 3_600_000;

const authorization: Authorization = {
  session: {
    id: "0193",
    userId: "u",
    deviceId: "d",
    applicationId: "continuo",
    parentId: null,
    policyVersion: 1,
    acr: "aal1",
    amr: ["pwd"],
    authTime: now,
    startedAt: now,
    lastActiveAt: now,
    idleDeadline: later(2 * HOUR),
    absoluteDeadline: later(24 * HOUR),
    state: "ACTIVE",
    endedAt: null,
    ipPrefix: null,
    country: null,
    endReason: null,
  },
  grantId: "g",
  generation: 5,
  keyId: 1,
  stepUpSeconds: 300,
  salt: Buffer.alloc(16),
  accessTokenSeconds: 300,
  posture: "STRICT",
  jkt: null,
  epoch: 0,
};
const grant = (state: Partial<GrantState>): GrantState => ({
  ...authorization,
  isActive: true,
  confirmedGeneration: 5,
  hasJustRotated: false,
  requiredAcr: null,
  isConfidential: false,
  deviceBinding: "NONE",
  ...state,
});

const by = (jkt: string | null, client: Presenter["client"] = null): Presenter => ({ jkt, client });

describe("a refresh token whose grant could not be advanced", () => {
  it.each([
    ["the predecessor, an hour on, its successor never seen", 4, { confirmedGeneration: 4 }, "SUCCESSOR_AGAIN"],
    ["the predecessor, an hour on, its successor in use", 4, {}, "REUSED"],
    ["the predecessor, at once, its successor in use", 4, { hasJustRotated: true }, "SUCCESSOR_AGAIN"],
    ["one older than the predecessor, at once", 3, { hasJustRotated: true, confirmedGeneration: 4 }, "REUSED"],
    ["the very first, much later", 1, { confirmedGeneration: 4 }, "REUSED"],
    ["the current one", 5, {}, "ADVANCE_AGAIN"],
    ["one from the future", 6, {}, "AHEAD"],
    ["any, of a grant that a step-up has replaced", 5, { isActive: false }, "REPLACED"],
  ] as const)("%s: %#", (_case, presented, state, expected) => {
    expect(judge(grant(state), presented, by(null), now)).toBe(expected);
  });

  it.each([
    ["without a proof", null],
    ["with a proof by another key", "other"],
  ])("of a bound grant is neither rotated nor theft %s, however old the token", (_case, jkt) => {
    for (const presented of [1, 4, 5])
      expect(judge(grant({ jkt: "key" }), presented, by(jkt), now)).toBe("KEY_NOT_PROVEN");
    expect(judge(grant({ jkt: "key" }), 1, by("key"), now)).toBe("REUSED");
  });

  it("of a bound grant may come with any key from a client that has authenticated, never without one", () => {
    const client = { id: "continuo", isConfidential: true };
    const bound = grant({ jkt: "key", deviceBinding: "DPOP", confirmedGeneration: 4 });
    const judged = (presented: number, presenter: Presenter): string => judge(bound, presented, presenter, now);
    expect([5, 4, 3].map((presented) => judged(presented, by("other", client)))).toEqual([
      "ADVANCE_AGAIN",
      "SUCCESSOR_AGAIN",
      "REUSED",
    ]);
    const named = { ...client, isConfidential: false };
    for (const presenter of [by(null, client), by("other", named), by("other")])
      expect([5, 4, 3].map((presented) => judged(presented, presenter))).toEqual(Array(3).fill("KEY_NOT_PROVEN"));
  });

  it("of a grant without a key goes no further once its policy asks for one; theft is still theft", () => {
    const unbound = grant({ deviceBinding: "DPOP", confirmedGeneration: 4 });
    expect([5, 4].map((presented) => judge(unbound, presented, by("key"), now))).toEqual([
      "KEY_REQUIRED",
      "KEY_REQUIRED",
    ]);
    expect(judge(unbound, 1, by(null), now)).toBe("REUSED");
    expect(judge(grant({ deviceBinding: "DPOP", jkt: "key" }), 5, by("key"), now)).toBe("ADVANCE_AGAIN");
  });

  it("is never theft once its session has ended, however old it is; without the key not even that is told", () => {
    const session = { ...authorization.session, state: "REVOKED", endedAt: now, endReason: "SIGNED_OUT" } as const;
    expect(judge(grant({ session }), 1, by(null), now)).toBe("ENDED");
    expect(judge(grant({ session, jkt: "key" }), 5, by("other"), now)).toBe("KEY_NOT_PROVEN");
  });

  it("is refused from the very moment of a deadline, whatever the row says", () => {
    expect(judge(grant({}), 4, by(null), later(2 * HOUR))).toBe("ENDED");
    expect(judge(grant({}), 4, by(null), later(2 * HOUR - 1))).toBe("REUSED");
  });
});

describe("a refresh that finds its grant as it was, though it could not advance it", () => {
  async function refreshed(failures: number): Promise<string> {
    let attempts = 0;
    const refreshTokens = createRefreshTokenCodec([Buffer.alloc(32)]);
    const authorized = {
      ...grant({}),
      grantId: "0195c9a0-0000-7000-8000-000000000000",
      keyId: refreshTokens.currentKeyId,
    };
    const rotation = createRotation({
      store: {
        advance: async () => ((attempts += 1) > failures ? authorized : undefined),
        read: async () => authorized,
        noteAhead: async () => undefined,
        sessionOf: async () => undefined,
      },
      accessTokens: { mint: async () => ({ accessToken: "good", expiresIn: 1 }) },
      refreshTokens,
      endForReuse: async () => undefined,
      now: () => now,
    });
    const logger = createLogger({ name: "test", level: "silent" });
    const refresh = rotation.refresh({ refreshToken: refreshTokens.encode(authorized) }, logger);
    return refresh.then(
      ({ accessToken }) => accessToken,
      ({ code, reason }: AppError) => `${code} ${reason}`,
    );
  }

  it("tries again, and in the end asks its client to: nobody is signed out for it", async () => {
    expect(await Promise.all([0, 2, 3].map(refreshed))).toEqual(["good", "good", "UNAVAILABLE REFRESH_UNSETTLED"]);
  });
});

describe("an access token", () => {
  it.each([
    ["lives as long as the policy says", 0, {}, 300],
    ["lives up to a tenth less", 0.999_999, {}, 270],
    ["never outlives the idle deadline", 0, { idleDeadline: later(20_500) }, 20],
    ["never outlives the absolute deadline", 0, { absoluteDeadline: later(7_000) }, 7],
  ] as const)("%s", (_case, random, session, seconds) => {
    const given = { ...authorization, session: { ...authorization.session, ...session } };
    expect(expiryOfToken(given, now, random) - now.getTime() / 1_000).toBe(seconds);
  });
});
