import { describe, expect, it } from "vitest";
import { DEFECTS, type Defect } from "./defects.ts";
import { REGRESSIONS } from "./regressions.ts";
import { search } from "./search.ts";
import { simulate } from "./world.ts";

const STEPS = 300;
/** Enough that each defect shows, and few enough to run each time. */
const SEEDS = 500;
/** Most defects show in one of the first; some take a coincidence. */
const SEEDS_A_DEFECT = 400;

describe("several devices, one server and a bad network", () => {
  it(`keep every promise, in ${SEEDS} worlds`, async () => {
    const found = await search({ from: 1, seeds: SEEDS, steps: STEPS });
    expect(found.violations).toEqual([]);
    // The intended faults did happen.
    expect(Math.min(...Object.values(found.totals))).toBeGreaterThan(SEEDS / 10);
  });

  it.each(REGRESSIONS)("keep them in world $seed of $steps steps, where once $broken", async ({ seed, steps }) => {
    await expect(simulate({ seed, steps })).resolves.toBeDefined();
  });

  it("do the same again for the same seed, and something else for another", async () => {
    const digests: string[] = [];
    for (const seed of [1, 2, 3, 4, 5]) {
      const { digest } = await simulate({ seed, steps: STEPS });
      expect((await simulate({ seed, steps: STEPS })).digest).toBe(digest);
      digests.push(digest);
    }
    expect(new Set(digests).size).toBe(5);
  });
});

describe("a defect", () => {
  const broken: Readonly<Record<Defect, RegExp>> = {
    NO_DEDUPE: /takes effect once/,
    POISON_BLOCKS: /every queue drains/,
    SKEW_NOT_REPAIRED: /who writes last/,
    STAMP_REREAD_AT_REPLAY: /who writes last/,
    CLAMP_MISSING: /from the future/,
    REMOVE_IGNORES_BASE: /what its author had seen/,
    OWN_WRITES_UNKNOWN: /what its author had seen/,
    NO_DRAFT_FENCE: /stays sent/,
    STALE_HOLDER_MOVES_RESUME: /taken over moves nothing/,
    BATCH_OVER_A_GAP: /end with the same/,
    GC_WITHOUT_FENCE: /who writes last/,
    CURSOR_FROM_SEQUENCE: /end with the same/,
    ACK_BEFORE_COMMIT: /counts once|is there, once|the largest stands|every queue drains/,
    RESET_TOKEN_REUSED: /see less of/,
    DEADLINE_UNREAD: /over is not shown/,
    DEADLINE_UNHEARD: /over is shown nowhere/,
    EXPIRY_WITHOUT_TOMBSTONE: /who writes last/,
    ERASURE_WITHOUT_EPOCH: /end with the same/,
    ERASURE_WITHOUT_FENCE: /erased stays away/,
    UNAUTHENTICATED_IS_REFUSAL: /nothing vanishes/,
    TAKEN_IS_REFUSED: /refused takes no effect/,
    COUNT_LOST: /counts once/,
    LARGEST_LOST: /the largest stands/,
    ELEMENT_LOST: /is there, once/,
    WORD_LOST: /in the text, once/,
    REPORT_MOVES_RESUME: /only reports never moves/,
    DEADLINE_TOO_EARLY: /there until then/,
    COUNT_GOES_ON: /counts once/,
    QUOTA_NOT_GIVEN_BACK: /against a quota/,
    ERASURE_UNDONE: /erased stays away/,
  };

  it.each(DEFECTS)("%s is found", async (defect) => {
    const enough = broken[defect];
    const { violations } = await search({ from: 1, seeds: SEEDS_A_DEFECT, steps: STEPS, defect, enough });
    expect(violations.map(({ message }) => message).join("\n")).toMatch(enough);
  });
});
