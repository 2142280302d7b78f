/**
 * Notifies other systems of a log entry over HTTP: webhooks and back-channel logout, each recipient independently. The
 * row in `revocation_deliveries` is the truth; a job is one attempt. At least once: receivers recognise a repeat by its
 * id.
 */
import type { PostResult } from "./post.ts";
import { parseRetryAfter, retryDelayMs } from "./retry-schedule.ts";

/** One attempt; `attempts` counts those before it, which identifies a job that runs late or twice. */
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

/** The recipient of a notice. */
export type Target =
  | {
      readonly kind: "WEBHOOK";
      readonly id: string;
      readonly url: string;
      readonly sealedSecrets: readonly Uint8Array[];
    }
  | { readonly kind: "LOGOUT"; readonly session: NotifiedSession; readonly url: string }
  /** No recipient is left: it has no address any more, or its log entry was undone. */
  | { readonly kind: "NOBODY" };

/** A recipient that has an address. */
export type Address = Exclude<Target, { kind: "NOBODY" }>;

/** A delivery that is still to be made. */
export interface Notice extends Attempt {
  readonly restored: boolean;
  readonly userId: string;
  readonly reason: string;
  readonly at: Date;
  /** The entry's sessions in the recipient's application, or all of them. */
  readonly sessions: readonly NotifiedSession[];
  readonly target: Target;
}

/** Every write compares `attempts` and does nothing when another attempt was recorded first. */
export interface DeliveryStore {
  /** Undefined when it has been delivered, given up, dropped or attempted since. */
  pending(attempt: Attempt): Promise<Notice | undefined>;
  delivered(attempt: Attempt, now: Date): Promise<void>;
  /** Records the failure and posts the next attempt, in one statement. */
  retryIn(attempt: Attempt, delayMs: number, error: string): Promise<void>;
  /** Posts the same attempt again, for later. */
  postpone(attempt: Attempt, delayMs: number): Promise<void>;
  /** Gives up: the row becomes a dead letter. */
  failed(attempt: Attempt, error: string, now: Date): Promise<void>;
  /** Deletes the row of a notice that has no recipient any more. */
  drop(attempt: Attempt): Promise<void>;
  /** The receiver answered 410 Gone: disables the webhook and deletes all its undelivered notices. */
  gone(attempt: Attempt, now: Date): Promise<void>;
}

/** The outcome of an attempt. */
export type DeliveryOutcome =
  | { readonly kind: "SETTLED_BEFORE" | "DELIVERED" | "DROPPED" | "GONE" }
  | { readonly kind: "POSTPONED"; readonly delayMs: number }
  | { readonly kind: "RETRY"; readonly error: string; readonly delayMs: number }
  | { readonly kind: "FAILED"; readonly error: string };

export interface Message {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** The most concurrent attempts per host, so that a slow receiver delays no other. */
const AT_ONCE_PER_ADDRESS = 3;
const BUSY_MS = 2_000;

/**
 * The fault of an answer; undefined when it means delivered. Webhooks: any 2xx. Back-channel logout (section 2.8): 200
 * or 204; 400 means either "invalid" or "the logout failed", and is retried like any other fault, with a fresh token.
 */
export function faultOfAnswer(kind: "WEBHOOK" | "LOGOUT", result: PostResult): string | undefined {
  if ("fault" in result) return result.fault;
  const { status } = result;
  const isDone = kind === "WEBHOOK" ? status >= 200 && status < 300 : status === 200 || status === 204;
  return isDone ? undefined : `HTTP_${status}`;
}

/** Makes one attempt per job. `random` returns numbers in [0, 1). */
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
