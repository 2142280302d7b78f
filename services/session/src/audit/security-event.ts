/**
 * A security event: the record, kept for the person, of what happened to their sessions. The statement that changes a
 * session also writes the event; this feature reads them. Not a request log: what changes nothing is not recorded.
 */
import { AppError } from "@continuo/errors";
import { z } from "zod";
import { EndReason } from "../session/session.ts";
import type { ChainEnds, Link } from "./chain.ts";

/** What happened. */
export const SecurityEventType = z.enum([
  "SESSION_STARTED",
  "SESSION_ENDED",
  "SESSIONS_RESTORED",
  "STEPPED_UP",
  "DEVICE_KEY_BOUND",
  "DEVICE_RENAMED",
  "GRANT_AHEAD",
  "USER_DISABLED",
  "USER_ENABLED",
  "USER_DELETED",
  "PASSWORD_CHANGED",
]);
export type SecurityEventType = z.infer<typeof SecurityEventType>;

/** The members of `detail` that are read here, for any type; it may have more. */
const Detail = z.looseObject({
  /** Why a session ended. */
  reason: EndReason.optional(),
  /** The application in which a session started. */
  applicationId: z.string().optional(),
});

/** A row of `auth_events`, without its place in the chain's cryptography. */
export const SecurityEvent = z.object({
  userId: z.uuid(),
  seq: z.coerce.number().int(),
  at: z.date(),
  type: SecurityEventType,
  sessionId: z.uuid().nullable(),
  deviceId: z.uuid().nullable(),
  /** The user who did it; null for time, policy or an operator. */
  actorId: z.uuid().nullable(),
  detail: Detail.nullable(),
  hash: z.instanceof(Buffer),
});
export type SecurityEvent = z.infer<typeof SecurityEvent>;

export interface SecurityEventPage {
  readonly totalCount: number;
  readonly hasNextPage: boolean;
  readonly events: readonly SecurityEvent[];
}

/** From after a place in one user's chain, through the chains of the users in between, to a place in another's. */
export interface LinkRange {
  readonly after: { readonly userId: string; readonly seq: number };
  readonly last: { readonly userId: string; readonly seq: number };
}

/** A link as stored in the database. */
export interface StoredLink extends Link {
  readonly userId: string;
}

/** Reads of events and their chains. */
export interface AuditStore {
  /** Newest first, starting below the seq `before`, or at the newest when it is null. */
  page(userId: string, first: number, before: number | null): Promise<SecurityEventPage>;
  /** The ends of these users' chains; a user without events has none. */
  ends(userIds: readonly string[]): Promise<ChainEnds[]>;
  /** The links in a range, at most `limit`, by user and place. */
  links(range: LinkRange, limit: number): Promise<StoredLink[]>;
  /** The next users by id who have events or a chain, at most `limit`. */
  users(after: string | null, limit: number): Promise<string[]>;
  /** The approximate number of those users; for progress. */
  countUsers(): Promise<number>;
  /** Runs `work` with reads of one snapshot. */
  snapshot<Result>(work: (chains: Pick<AuditStore, "ends" | "links">) => Promise<Result>): Promise<Result>;
}

/** The cursor of an event in a page, opaque to clients. */
export const encodePlace = (seq: number): string => Buffer.from(`event.${seq}`).toString("base64url");

/** Throws BAD_USER_INPUT/CURSOR_INVALID. */
export function decodePlace(cursor: string): number {
  const [, seq] = /^event\.(\d{1,15})$/.exec(Buffer.from(cursor, "base64url").toString()) ?? [];
  if (seq === undefined) {
    throw new AppError("BAD_USER_INPUT", "CURSOR_INVALID", "The cursor is not valid: start without one.");
  }
  return Number(seq);
}
