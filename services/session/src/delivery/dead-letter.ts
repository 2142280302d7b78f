/** Undelivered notices as an operator sees them, and how to retry those that were given up. */
import { z } from "zod";

/** A row of `revocation_deliveries`. */
export const DeliveryRecord = z.object({
  seq: z.coerce.number(),
  recipient: z.string(),
  createdAt: z.date(),
  attempts: z.number(),
  lastError: z.string().nullable(),
  failedAt: z.date().nullable(),
  /** When the next attempt is due; null once given up. */
  dueAt: z.date().nullable(),
});
export type DeliveryRecord = z.infer<typeof DeliveryRecord>;

/** Selects undelivered notices: only those given up, unless `pending`; of one recipient or log entry, if given. */
export interface DeadLetterFilter {
  readonly recipient?: string | undefined;
  readonly seq?: number | undefined;
  /** Includes those still under way: `list` shows them, `retry` attempts them at once. */
  readonly pending?: boolean | undefined;
}

/** Needs only the database, no queue. */
export interface DeadLetterStore {
  /** Oldest first, at most `limit`. */
  list(filter: DeadLetterFilter, limit: number): Promise<DeliveryRecord[]>;
  /** How many `retry` would take. */
  count(filter: DeadLetterFilter): Promise<number>;
  /** Restarts their retry schedule, with the first attempt now. Returns how many. */
  retry(filter: DeadLetterFilter): Promise<number>;
}
