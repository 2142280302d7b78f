/**
 * Telling other systems of a log entry over HTTP: webhooks and back-channel logout, each recipient by itself. The row in
 * `revocation_deliveries` is the truth; a job is one attempt. At least once: receivers know a repeat by its id.
 */
import type { PostResult } from "./post.ts";
import { parseRetryAfter, retryDelayMs } from "./retry-schedule.ts";

/** One attempt; `attempts` are those made before it, so that a job which comes late or twice is known for one. */
export interface Attempt {
  readonly seq: number;
  readonly recipient: string;
  readonly attempts: number;
}

export interface NotifiedSession {
  readonly id: string;
  readonly deviceId: string;
  readonly applicationId: string;
}

/** Whom to tell. */
export type Target =
  | {
      readonly kind: "WEBHOOK";
      readonly id: string;
      readonly url: string;
      readonly sealedSecrets: readonly Uint8Array[];
    }
  | { readonly kind: "LOGOUT"; readonly session: NotifiedSession; readonly url: string }
  /** Without an address by now, or with its entry taken back: there is nothing left to tell. */
  | { readonly kind: "NOBODY" };

/** Somebody to tell. */
export type Address = Exclude<Target, { kind: "NOBODY" }>;

/** A delivery that is still to be made. */
export interface Notice extends Attempt {
  readonly restored: boolean;
  readonly userId: string;
  readonly reason: string;
  readonly at: Date;
  /** Those of the recipient's application, or all. */
  readonly sessions: readonly NotifiedSession[];
  readonly target: Target;
}

/** Every write compares `attempts`, and does nothing when another attempt was noted first. */
export interface DeliveryStore {
  /** Undefined when it was delivered, given up, dropped or tried since. */
  pending(attempt: Attempt): Promise<Notice | undefined>;
  delivered(attempt: Attempt, now: Date): Promise<void>;
  /** Notes the failure and posts the next attempt, in one statement. */
  retryIn(attempt: Attempt, delayMs: number, error: string): Promise<void>;
  /** The same attempt, later. */
  postpone(attempt: Attempt, delayMs: number): Promise<void>;
  /** A dead letter. */
  failed(attempt: Attempt, error: string, now: Date): Promise<void>;
  /** Nobody is to be told any more: the row goes. */
  drop(attempt: Attempt): Promise<void>;
  /** The receiver wants nothing ever again: disables the webhook and drops all that it was still to be told. */
  gone(attempt: Attempt, now: Date): Promise<void>;
}

/** What became of an attempt. */
export type DeliveryOutcome =
  | { readonly kind: "SETTLED_BEFORE" | "DELIVERED" | "DROPPED" | "GONE" }
  | { readonly kind: "POSTPONED"; readonly delayMs: number }
  | { readonly kind: "RETRY"; readonly error: string; readonly delayMs: number }
  | { readonly kind: "FAILED"; readonly error: string };

export interface Message {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** So many at a time to one address, whatever waits for it: a slow one holds up nobody else. */
const AT_ONCE_PER_ADDRESS = 3;
const BUSY_MS = 2_000;

/**
 * What an answer means; undefined: delivered. Webhooks: any 2xx. Back-channel logout (section 2.8): 200, or 204; its 400
 * says either "invalid" or "the logout failed", and the next attempt has a fresh token, so it is tried again like any other.
 */
export function faultOfAnswer(kind: "WEBHOOK" | "LOGOUT", result: PostResult): string | undefined {
  if ("fault" in result) return result.fault;
  const { status } = result;
  const isDone = kind === "WEBHOOK" ? status >= 200 && status < 300 : status === 200 || status === 204;
  return isDone ? undefined : `HTTP_${status}`;
}

/** Makes one attempt at a time for each job. `random` gives numbers in [0, 1). */
export function createDelivery(options: {
  store: DeliveryStore;
  send: (url: string, message: Message, signal: AbortSignal) => Promise<PostResult>;
  messageFor: (notice: Notice, target: Address, now: Date) => Promise<Message>;
  random: () => number;
  now: () => Date;
  schedule?: readonly number[] | undefined;
}): { deliver(attempt: Attempt, signal: AbortSignal): Promise<DeliveryOutcome> } {
  const { store, send, messageFor, random, now, schedule } = options;
  const underWay = new Map<string, number>();

  async function attemptAt(notice: Notice, target: Address, signal: AbortSignal): Promise<DeliveryOutcome> {
    const result = await send(target.url, await messageFor(notice, target, now()), signal);
    const error = faultOfAnswer(target.kind, result);
    if (error === undefined) {
      await store.delivered(notice, now());
      return { kind: "DELIVERED" };
    }
    if (target.kind === "WEBHOOK" && error === "HTTP_410") {
      await store.gone(notice, now());
      return { kind: "GONE" };
    }
    const retryAfterMs = "status" in result ? parseRetryAfter(result.retryAfter, now()) : undefined;
    const failures = notice.attempts + 1;
    const delayMs = retryDelayMs({ failures, retryAfterMs, random: random(), ...(schedule && { schedule }) });
    if (delayMs === undefined) {
      await store.failed(notice, error, now());
      return { kind: "FAILED", error };
    }
    await store.retryIn(notice, delayMs, error);
    return { kind: "RETRY", error, delayMs };
  }

  return {
    async deliver(attempt, signal) {
      const notice = await store.pending(attempt);
      if (notice === undefined) return { kind: "SETTLED_BEFORE" };
      const { target } = notice;
      if (target.kind === "NOBODY") {
        await store.drop(notice);
        return { kind: "DROPPED" };
      }
      const { host } = new URL(target.url);
      const busy = underWay.get(host) ?? 0;
      if (busy >= AT_ONCE_PER_ADDRESS) {
        const delayMs = Math.round(BUSY_MS * (1 + random()));
        await store.postpone(notice, delayMs);
        return { kind: "POSTPONED", delayMs };
      }
      underWay.set(host, busy + 1);
      try {
        return await attemptAt(notice, target, signal);
      } finally {
        const left = (underWay.get(host) ?? 1) - 1;
        if (left === 0) underWay.delete(host);
        else underWay.set(host, left);
      }
    },
  };
}
