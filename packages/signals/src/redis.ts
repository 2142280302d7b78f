/**
 * What REDIS_URL means: one server, or a cluster when it lists several or uses redis-cluster://. For Redis and Valkey alike.
 */
import { type EventEmitter, once } from "node:events";
import { Cluster, Redis } from "ioredis";

export interface RedisTarget {
  readonly cluster: boolean;
  /** redis:// or rediss:// URLs: the server, or some nodes from which to discover the cluster. */
  readonly urls: readonly [string, ...string[]];
}

/** Parses `redis://…`, `redis://a,redis://b` or `redis-cluster://…` (and their rediss forms). Throws TypeError. */
export function parseRedisUrl(text: string): RedisTarget {
  const parts = text.split(",").map((part) => part.trim());
  const cluster = parts.length > 1 || /^rediss?-cluster:/.test(parts[0] ?? "");
  const [first, ...others] = parts.map((part) => {
    const url = part.replace(/^(rediss?)-cluster:/, "$1:");
    if (!/^rediss?:\/\//.test(url))
      throw new TypeError("REDIS_URL starts with redis://, rediss://, redis-cluster:// or rediss-cluster://");
    return new URL(url).href;
  });
  if (first === undefined) throw new TypeError("REDIS_URL is empty");
  return { cluster, urls: [first, ...others] };
}

/** Milliseconds before the next attempt to connect: full jitter, so that processes do not all reconnect at once. */
export function retryDelayMs(attempt: number): number {
  return Math.ceil(Math.random() * Math.min(5_000, 100 * 2 ** attempt));
}

export interface RedisClientOptions {
  /** How many reconnections a command survives; null: it waits as long as it takes. */
  readonly maxRetriesPerRequest: number | null;
  /** Whether a command waits while the server is away, or fails at once. */
  readonly enableOfflineQueue: boolean;
  /** A server that owes an answer and is silent for this long counts as dead: the client reconnects. Milliseconds. */
  readonly socketTimeout: number;
  /** Once aborted, neither this client nor its duplicates reconnect. */
  readonly closing?: AbortSignal;
}

/** A client for commands that reconnects by itself. The caller handles its "error" events and disconnects it. */
export function createRedis(target: RedisTarget, options: RedisClientOptions): Redis | Cluster {
  const { enableOfflineQueue, closing, ...node } = { connectTimeout: 5_000, ...options };
  const retryStrategy = (attempt: number): number | null => (closing?.aborted ? null : retryDelayMs(attempt));
  if (!target.cluster) return new Redis(target.urls[0], { ...node, enableOfflineQueue, retryStrategy });
  const { username, password, protocol } = new URL(target.urls[0]);
  const secure = protocol === "rediss:";
  return new Cluster([...target.urls], {
    clusterRetryStrategy: retryStrategy,
    enableOfflineQueue,
    // Certificates name hosts, not the addresses that they resolve to.
    ...(secure ? { dnsLookup: (address, found) => found(null, address) } : {}),
    redisOptions: {
      ...node,
      ...(username === "" ? {} : { username: decodeURIComponent(username) }),
      ...(password === "" ? {} : { password: decodeURIComponent(password) }),
      ...(secure ? { tls: {} } : {}),
    },
  });
}

/** A client for what must be sent now or never: commands fail at once while the server is away. Otherwise as `createRedis`. */
export function createSender(target: RedisTarget): Redis | Cluster {
  return createRedis(target, { enableOfflineQueue: false, maxRetriesPerRequest: 0, socketTimeout: SENT_WITHIN_MS });
}

const SENT_WITHIN_MS = 5_000;

/** A client whose first attempt to connect is over, successful or not; it keeps trying. The caller disconnects it. */
export async function connectRedis(
  redisUrl: string,
  { onError, ...options }: RedisClientOptions & { readonly onError: (cause: unknown) => void },
): Promise<Redis | Cluster> {
  const redis = createRedis(parseRedisUrl(redisUrl), options);
  redis.on("error", onError);
  await attempted(redis);
  return redis;
}

/** Resolves when the first attempt to connect is over, successful or not. */
export async function attempted(redis: EventEmitter): Promise<void> {
  const over = new AbortController();
  await Promise.race(
    ["ready", "error", "close"].map((event) => once(redis, event, { signal: over.signal }).catch(() => undefined)),
  );
  over.abort();
}
