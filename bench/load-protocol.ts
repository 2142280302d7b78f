/** What the load generator and its parent say to each other, and what a driver is. */
import { z } from "zod";

/** What a module in `drivers/` makes. */
export interface Driver extends AsyncDisposable {
  /** Before each turn, not measured; with what the contender's supply gave. */
  prepare?(supply: unknown): Promise<void>;
  /** One operation of one of the workers; rejects unless it had its effect. Resolves to its ms where not all of it counts. */
  operate(worker: number): Promise<number | void>;
}

/** Every module in `drivers/` exports one as `openDriver`. */
export type OpenDriver = (options: unknown, workers: number) => Promise<Driver>;

/** A module in `drivers/` (its URL), how many of its operations may be under way, and the driver's own options. */
export const LoadSettings = z.object({
  driver: z.string(),
  workers: z.number().int().positive(),
  options: z.unknown(),
});

/** Asked before a turn, so that what it takes to get ready is not measured. */
export const Prepare = z.object({ prepare: z.unknown() });

/** A turn lasts that long, or that many operations. */
export const Bound = z.union([
  z.object({ seconds: z.number().positive().max(60) }),
  z.object({ operations: z.number().int().positive() }),
]);
export type Bound = z.infer<typeof Bound>;

/** What a turn came to. */
export const Tally = z.object({ operations: z.number(), seconds: z.number(), p50Ms: z.number(), p99Ms: z.number() });
export type Tally = z.infer<typeof Tally>;
