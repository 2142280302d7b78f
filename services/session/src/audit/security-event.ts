/**
 * A security event: what happened to a person's sessions, as it is kept for them. Whoever changes a session writes the event
 * in the same statement; here they are read. Not a log of requests: nothing is here that changed nothing.
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

/** What `detail` may tell, whatever the type; more may be in it. */
const Detail = z.looseObject({
  /** Why a session ended. */
  reason: EndReason.optional(),
  /** Where a session started. */
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

/** From behind a place in one user's chain, through the chains of the users between, to a place in another's. */
export interface LinkRange {
  readonly after: { readonly userId: string; readonly seq: number };
  readonly last: { readonly userId: string; readonly seq: number };
}

/** A link as it lies in the database. */
export interface StoredLink extends Link {
  readonly userId: string;
}

/** Reads of events and their chains. */
export interface AuditStore {
  /** Newest first, from behind the place `before` on, from the newest without it. */
  page(userId: string, first: number, before: number | null): Promise<SecurityEventPage>;
  /** Of these users' chains; a user to whom nothing has happened has none. */
  ends(userIds: readonly string[]): Promise<ChainEnds[]>;
  /** The links in a range, at most `limit`, by user and place. */
  links(range: LinkRange, limit: number): Promise<StoredLink[]>;
  /** The next users by id who have events or a chain, at most `limit`. */
  users(after: string | null, limit: number): Promise<string[]>;
  /** How many users that is, roughly; for progress. */
  countUsers(): Promise<number>;
  /** Gives `work` reads that all see the same moment. */
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
