/** The messages between the load generator and its parent, and the interface of a driver. */
import { z } from "zod";

/** What a module in `drivers/` creates. */
export interface Driver extends AsyncDisposable {
  /** Called before each turn, unmeasured, with the result of the contender's `supply`. */
  prepare?(supply: unknown): Promise<void>;
  /** One operation by one worker; rejects unless it took effect. Resolves to its duration in ms when only part of it counts. */
  operate(worker: number): Promise<number | void>;
}

/** Every module in `drivers/` exports one as `openDriver`. */
export type OpenDriver = (options: unknown, workers: number) => Promise<Driver>;

/** The URL of a module in `drivers/`, the number of concurrent operations, and the driver's own options. */
export const LoadSettings = z.object({
  driver: z.string(),
  workers: z.number().int().positive(),
  options: z.unknown(),
});

/** Sent before a turn, so that preparation is not measured. */
export const Prepare = z.object({ prepare: z.unknown() });

/** A turn lasts this long, or this many operations. */
export const Bound = z.union([
  z.object({ seconds: z.number().positive().max(60) }),
  z.object({ operations: z.number().int().positive() }),
]);
export type Bound = z.infer<typeof Bound>;

/** The result of a turn. */
export const Tally = z.object({ operations: z.number(), seconds: z.number(), p50Ms: z.number(), p99Ms: z.number() });
export type Tally = z.infer<typeof Tally>;
