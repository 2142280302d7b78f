import { ACR_ORDER } from "@continuo/access";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { APPLICATIONS } from "../seed.ts";
import { LONGEST_SESSION, PolicyRules } from "./policy.ts";

const rules: PolicyRules = {
  idleSeconds: 600,
  absoluteSeconds: 3_600,
  accessTokenSeconds: 300,
  maxSessions: 5,
  atLimit: "EVICT_OLDEST",
  requiredAcr: null,
  deviceBinding: "NONE",
  stepUpSeconds: 300,
  persistence: true,
  posture: "STRICT",
};

const faultsOf = (draft: unknown): (string | undefined)[] => {
  const parsed = PolicyRules.safeParse(draft);
  return parsed.success ? [] : parsed.error.issues.map(({ path }) => path[0]?.toString());
};

describe("a policy", () => {
  it.each(APPLICATIONS)("of the seed is one that could be drafted: $id", ({ policy }) => {
    expect(faultsOf(policy)).toEqual([]);
  });

  it("only tightens the defaults of the level that it requires", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(null, ...ACR_ORDER),
        fc.integer({ min: 1, max: 3_000_000 }),
        fc.integer({ min: 1, max: 3_000_000 }),
        (requiredAcr, idleSeconds, absoluteSeconds) => {
          const most = LONGEST_SESSION[requiredAcr ?? "aal1"];
          const isTighter =
            idleSeconds <= most.idleSeconds &&
            absoluteSeconds <= most.absoluteSeconds &&
            idleSeconds <= absoluteSeconds;
          expect(faultsOf({ ...rules, requiredAcr, idleSeconds, absoluteSeconds }).length === 0).toBe(isTighter);
        },
      ),
    );
  });

  it("at the limits of each level stands, a second beyond does not", () => {
    for (const requiredAcr of ACR_ORDER) {
      const most = { ...rules, requiredAcr, ...LONGEST_SESSION[requiredAcr] };
      expect(faultsOf(most)).toEqual([]);
      expect(faultsOf({ ...most, idleSeconds: most.idleSeconds + 1 })).toEqual(["idleSeconds"]);
      expect(faultsOf({ ...most, absoluteSeconds: most.absoluteSeconds + 1 })).toEqual(["absoluteSeconds"]);
    }
  });

  it.each([
    [{ accessTokenSeconds: 59 }, "accessTokenSeconds"],
    [{ accessTokenSeconds: 901 }, "accessTokenSeconds"],
    [{ idleSeconds: 0 }, "idleSeconds"],
    [{ idleSeconds: 1.5 }, "idleSeconds"],
    [{ idleSeconds: 3_601 }, "idleSeconds"],
    [{ maxSessions: 0 }, "maxSessions"],
    [{ maxSessions: 1_001 }, "maxSessions"],
    [{ stepUpSeconds: 0 }, "stepUpSeconds"],
    [{ stepUpSeconds: 30 * 24 * 3_600 + 1 }, "stepUpSeconds"],
    [{ requiredAcr: "gold" }, "requiredAcr"],
    [{ atLimit: "IGNORE" }, "atLimit"],
  ])("that says %j is none", (change, fault) => {
    expect(faultsOf({ ...rules, ...change })).toContain(fault);
  });

  it("with a rule that nobody knows, or without one that is needed, is none", () => {
    expect(PolicyRules.safeParse({ ...rules, idleSecond: 6 }).success).toBe(false);
    const { persistence: _, ...without } = rules;
    expect(PolicyRules.safeParse(without).success).toBe(false);
  });
});
