/**
 * Rate limits per session and per network. Over Redis all replicas count together; without it, or while it is away,
 * each replica counts alone, so n replicas allow n times as much.
 */
import { AppError } from "@continuo/errors";
import type { Logger } from "@continuo/process";
import { connectRedis } from "@continuo/signals/redis";
import { type OperationDefinitionNode, OperationTypeNode } from "graphql";
import type { GatewayContext } from "../context.ts";
import { asksOnlyFor } from "../root-fields.ts";
import { RateLimiterMemory, RateLimiterRedis, RateLimiterRes } from "rate-limiter-flexible";

/** Whom to count: anonymous callers have no session, this machine has no network. */
export interface Asking {
  readonly sessionId?: string | undefined;
  readonly network?: string | undefined;
}

export interface RateLimits {
  /** Counts an operation. Throws RATE_LIMITED: SESSION_RATE, NETWORK_RATE, with `details.retryAfterMs`. */
  operation(asking: Asking): Promise<void>;
  /**
   * Counts a socket or an event stream that a session opens. Throws RATE_LIMITED: CONNECTION_RATE, with
   * `details.retryAfterMs`.
   */
  connection(asking: Asking): Promise<void>;
}

/** The limits; 0 means unlimited. */
export interface Rates {
  /** In 10 s. */
  readonly operationsPerSession: number;
  /** In 10 s. */
  readonly operationsPerNetwork: number;
  /** In 60 s. */
  readonly connectionsPerSession: number;
}

const OPERATIONS_SECONDS = 10;
const CONNECTIONS_SECONDS = 60;
const ANSWER_WITHIN_MS = 1_000;

/** Signing out only gives up access, so it is never limited. */
const RELEASES = new Set(["signOut", "signOutDevice", "signOutOtherDevices", "signOutSession", "signOutEverywhere"]);

/** Whether an operation does nothing but sign out. */
export function isRelease(operation: OperationDefinitionNode): boolean {
  return operation.operation === OperationTypeNode.MUTATION && asksOnlyFor(operation, RELEASES);
}

/** Whom to count an operation for. */
export function askingOf({ session, network }: Pick<GatewayContext, "session" | "network">): Asking {
  return { sessionId: session?.sid, network };
}

/** Opens the limits, over Redis if `redisUrl` is set. Starts even if Redis is down. */
export async function openRateLimits(options: {
  rates: Rates;
  redisUrl?: string | undefined;
  logger: Logger;
}): Promise<RateLimits & AsyncDisposable> {
  const { rates, redisUrl } = options;
  const logger = options.logger.child({ component: "rate-limits" });
  const redis =
    redisUrl === undefined
      ? undefined
      : await connectRedis(redisUrl, {
          enableOfflineQueue: false,
          maxRetriesPerRequest: 0,
          socketTimeout: ANSWER_WITHIN_MS,
          onError: (cause) => logger.debug({ err: cause }, "the connection was lost"),
        });

  function limiter(
    name: string,
    points: number,
    duration: number,
  ): (key: string | undefined, reason: string) => Promise<void> {
    if (points === 0) return async () => undefined;
    const keyPrefix = `continuo:rate:${name}`;
    const alone = new RateLimiterMemory({ keyPrefix, points, duration });
    const shared =
      redis &&
      new RateLimiterRedis({
        storeClient: redis,
        keyPrefix,
        points,
        duration,
        insuranceLimiter: alone,
        // Callers over the limit are refused from memory: a flood does not reach Redis.
        inMemoryBlockOnConsumed: points + 1,
      });
    return async (key, reason) => {
      if (key === undefined) return;
      try {
        await (shared ?? alone).consume(key);
      } catch (cause) {
        if (!(cause instanceof RateLimiterRes)) throw cause;
        const details = { retryAfterMs: Math.max(1, cause.msBeforeNext) };
        throw new AppError("RATE_LIMITED", reason, "Too many at a time: try again a little later.", { details });
      }
    };
  }

  const ofSession = limiter("session", rates.operationsPerSession, OPERATIONS_SECONDS);
  const ofNetwork = limiter("network", rates.operationsPerNetwork, OPERATIONS_SECONDS);
  const ofConnections = limiter("connections", rates.connectionsPerSession, CONNECTIONS_SECONDS);
  return {
    async operation({ sessionId, network }) {
      await Promise.all([ofSession(sessionId, "SESSION_RATE"), ofNetwork(network, "NETWORK_RATE")]);
    },
    connection: ({ sessionId }) => ofConnections(sessionId, "CONNECTION_RATE"),
    async [Symbol.asyncDispose]() {
      redis?.disconnect();
    },
  };
}
