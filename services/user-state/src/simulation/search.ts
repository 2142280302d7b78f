/** Runs many worlds and collects their violations. */
import type { Defect } from "./defects.ts";
import { Violation } from "./rules.ts";
import { simulate, type Report } from "./world.ts";

export interface Found {
  readonly violations: readonly { readonly seed: number; readonly message: string }[];
  /** The sums over all worlds. */
  readonly totals: Omit<Report, "digest">;
}

const COUNTS = ["changes", "settled", "refused", "lost", "doubled", "restores", "erasures", "expired"] as const;

/** Runs `seeds` worlds starting at seed `from`, or until a violation matches `enough`; calls `progress` after each. */
export async function search(options: {
  from: number;
  seeds: number;
  steps: number;
  defect?: Defect | undefined;
  enough?: RegExp;
  progress?: (worlds: number) => void;
}): Promise<Found> {
  const { from, seeds, steps, defect, enough, progress } = options;
  const violations: { seed: number; message: string }[] = [];
  const totals: Record<(typeof COUNTS)[number], number> = {
    changes: 0,
    settled: 0,
    refused: 0,
    lost: 0,
    doubled: 0,
    restores: 0,
    erasures: 0,
    expired: 0,
  };
  for (let seed = from; seed < from + seeds; seed += 1) {
    try {
      const report = await simulate({ seed, steps, defect });
      for (const name of COUNTS) totals[name] += report[name];
    } catch (cause) {
      if (!(cause instanceof Violation)) throw cause;
      violations.push({ seed, message: cause.message });
      if (enough?.test(cause.message)) break;
    }
    progress?.(seed - from + 1);
  }
  return { violations, totals };
}
