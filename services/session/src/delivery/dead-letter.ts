/** Deliveries as an operator sees them, and how those given up are tried again. */
import { z } from "zod";

/** A row of `revocation_deliveries`. */
export const DeliveryRecord = z.object({
  seq: z.coerce.number(),
  recipient: z.string(),
  createdAt: z.date(),
  attempts: z.number(),
  lastError: z.string().nullable(),
  failedAt: z.date().nullable(),
  /** When the next attempt is due; null when it is given up. */
  dueAt: z.date().nullable(),
});
export type DeliveryRecord = z.infer<typeof DeliveryRecord>;

/** Which undelivered ones: those given up alone, unless `pending`; all of them, or of one recipient or log entry. */
export interface DeadLetterFilter {
  readonly recipient?: string | undefined;
  readonly seq?: number | undefined;
  /** Those still on their way too: listed, or tried at once. */
  readonly pending?: boolean | undefined;
}

/** All are of the database alone: no queue need be there. */
export interface DeadLetterStore {
  /** Oldest first, at most `limit`. */
  list(filter: DeadLetterFilter, limit: number): Promise<DeliveryRecord[]>;
  /** How many `retry` would take. */
  count(filter: DeadLetterFilter): Promise<number>;
  /** Starts their schedule afresh, the first attempt now. Returns how many. */
  retry(filter: DeadLetterFilter): Promise<number>;
}
