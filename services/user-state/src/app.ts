/** The composition root of the user-state subgraph. */
import { createIdentityVerifier } from "@continuo/access";
import { startDatabase } from "@continuo/database";
import { createGauge, createHealth, createLogger } from "@continuo/process";
import { activityTopic, openRelays, type Pokes, relayTopic, startPokes, stateTopic } from "@continuo/signals";
import { DateTime, loadTypeDefs, startSubgraph, type Subgraph } from "@continuo/subgraph";
import { v7 as uuidv7 } from "uuid";
import { createActivities } from "./activity/activity.ts";
import { activityResolvers } from "./activity/activity.resolvers.ts";
import { createActivityStore } from "./activity/activity.store.ts";
import { createResumeFor } from "./activity/resume.ts";
import { createTakeOvers } from "./activity/take-over.ts";
import { createArchiveStore } from "./archive/archive.store.ts";
import { createArchiveRoutes } from "./archive-routes.ts";
import { createBulkhead } from "./bulkhead.ts";
import type { Context } from "./context.ts";
import { PrismaClient } from "./database/generated/client.ts";
import { createEntries } from "./entry/entry.ts";
import { entryResolvers } from "./entry/entry.resolvers.ts";
import { createEntryStore } from "./entry/entry.store.ts";
import type { Env } from "./env.ts";
import { createErase, createOwnErasure } from "./erasure/erasure.ts";
import { erasureResolvers } from "./erasure/erasure.resolvers.ts";
import { createErasureStore } from "./erasure/erasure.store.ts";
import { createHistory } from "./history/history.ts";
import { historyResolvers } from "./history/history.resolvers.ts";
import { createHistoryStore } from "./history/history.store.ts";
import { createNamespaces } from "./namespace/namespace.ts";
import { namespaceResolvers } from "./namespace/namespace.resolvers.ts";
import { createNamespaceStore } from "./namespace/namespace.store.ts";
import { createRelay } from "./relay/relay.ts";
import { relayResolvers } from "./relay/relay.resolvers.ts";
import { createSeals } from "./relay/seal.ts";
import { SafeInt } from "./scalars.ts";
import { createCursors } from "./stream/cursor.ts";
import { createLatest } from "./stream/latest.ts";
import { createLongPoll } from "./stream/long-poll.ts";
import { createStream } from "./stream/stream.ts";
import { streamResolvers } from "./stream/stream.resolvers.ts";
import { createStreamStore } from "./stream/stream.store.ts";
import { createSyncStatusOf } from "./sync-status/sync-status.ts";
import { syncStatusResolvers } from "./sync-status/sync-status.resolvers.ts";
import { createSyncStatusStore } from "./sync-status/sync-status.store.ts";

const NAME = "user-state";
/** Pulls and pushes that may queue per slot of concurrency; a page takes a few milliseconds. */
const QUEUE_PER_TURN = 32;
/**
 * Concurrent pushes per connection available to them: pushes share statements, and some settle while others are
 * written.
 */
const PUSHES_PER_TURN = 4;
const PATIENCE_MS = 2_000;
/** The share of connections that exports may hold while they are being read. */
const SHARE_OF_EXPORTS = 0.2;
/** The limits of long polls. */
const MAX_WAITING = { all: 1_000, ofUser: 8 };
/** Shorter than the gateway's timeout, so a request blocked by a lock is told to retry. */
const LOCK_TIMEOUT_MS = 5_000;

const waiting = createGauge("continuo_bulkhead_waiting", "Who waits for a turn, by kind of work.", ["work"]);

/** Opens the database and the bus, then serves. Throws SetupError as `startDatabase` does. */
export async function startApp(env: Env, { pokes: shared }: { pokes?: Pokes } = {}): Promise<Subgraph> {
  const logger = createLogger({ name: NAME, level: env.LOG_LEVEL });
  await using stack = new AsyncDisposableStack();

  const { pool } = stack.use(
    await startDatabase({
      url: env.DATABASE_URL,
      schema: "user_state",
      PrismaClient,
      applicationName: `continuo-${NAME}`,
      poolSize: env.DATABASE_POOL_SIZE,
      lockTimeoutMs: LOCK_TIMEOUT_MS,
      log: logger,
    }),
  );
  const health = createHealth();
  health.add("database", () => pool.query("SELECT 1"));
  const bus = { databaseUrl: env.DATABASE_URL, redisUrl: env.REDIS_URL, logger };
  const pokes = shared ?? stack.use(await startPokes(bus));
  const relays = stack.use(await openRelays(bus));

  /** Not awaited: the commit is already acknowledged, and readers poll anyway. */
  const announce = (topic: string, rev: number): void => {
    pokes.publish(topic, rev).catch((cause: unknown) => {
      logger.warn({ err: cause }, "a change was not announced");
    });
  };
  // Neither reads nor writes may take all connections.
  const concurrency = Math.ceil(env.DATABASE_POOL_SIZE * 0.75);
  const share = {
    concurrency,
    queue: concurrency * QUEUE_PER_TURN,
    patienceMs: PATIENCE_MS,
    now: () => performance.now(),
    random: Math.random,
  };
  const pulls = createBulkhead(share);
  /** Limits the work that takes a connection; pushes that share a statement take one. */
  const writes = createBulkhead(share);
  const pushes = createBulkhead({ ...share, concurrency: concurrency * PUSHES_PER_TURN });
  stack.use(
    waiting.watch(() => [
      [{ work: "pull" }, pulls.waiting()],
      [{ work: "push" }, pushes.waiting() + writes.waiting()],
    ]),
  );
  const namespaces = createNamespaces({ store: createNamespaceStore(pool), now: () => performance.now() });
  const relay = createRelay({
    seals: createSeals(env.CURSOR_KEY, Date.now),
    namespaces,
    send: (userId, sealed) => void relays.publish(relayTopic(userId), sealed).catch(() => undefined),
    now: () => performance.now(),
  });
  // Streams in another process do not say which poke they heard.
  const latest = shared && createLatest();
  const entries = createEntries({
    store: createEntryStore(pool, (work) => writes.run(work)),
    namespaces,
    relay,
    quota: { entries: env.QUOTA_ENTRIES, bytes: env.QUOTA_BYTES },
    newEpoch: uuidv7,
    random: Math.random,
    faulted: (cause) => logger.error({ err: cause }, "a push was interrupted, or met a unit that cannot be computed"),
    changed: (userId, settlement, before) => {
      latest?.keep(userId, before, settlement);
      announce(stateTopic(userId), settlement.rev);
    },
  });
  const stream = createStream({
    store: createStreamStore(pool),
    latest,
    namespaces,
    cursors: createCursors(env.CURSOR_KEY),
    newEpoch: uuidv7,
  });
  const longPoll = createLongPoll({
    pull: (viewer, request, heard) => stream.pull(viewer, request, heard),
    enter: (gone) => pulls.enter(gone),
    subscribe: (userId, listener) => pokes.subscribe(stateTopic(userId), listener),
    limits: MAX_WAITING,
    now: share.now,
    random: share.random,
  });
  const history = createHistory({ store: createHistoryStore(pool), namespaces });
  const syncStatuses = createSyncStatusStore(pool);
  const activitiesIn = createActivityStore(pool);
  /** The wait for a flush is outside the bulkheads, as it holds no connection. */
  const activityStore: typeof activitiesIn = {
    ...activitiesIn,
    decide: (request, decide) => writes.run(() => activitiesIn.decide(request, decide)),
    changes: (userId, since, first) => pulls.run(() => activitiesIn.changes(userId, since, first)),
    read: (userId) => pulls.run(() => activitiesIn.read(userId)),
  };
  const exports = createBulkhead({
    ...share,
    concurrency: Math.max(1, Math.floor(env.DATABASE_POOL_SIZE * SHARE_OF_EXPORTS)),
    queue: 2,
  });
  const now = (): Date => new Date();
  const ofActivities = {
    store: activityStore,
    namespaces,
    newId: uuidv7,
    announce: {
      activities: (userId: string, rev: number) => announce(activityTopic(userId), rev),
      state: (userId: string, headRev: number) => announce(stateTopic(userId), headRev),
    },
  };
  const activities = createActivities(ofActivities);
  const eraseState = createOwnErasure({
    now,
    erase: createErase({ store: createErasureStore(pool), newEpoch: uuidv7, announce: ofActivities.announce }),
    namespaces,
  });
  const takeOvers = createTakeOvers({
    ...ofActivities,
    listen: (userId, wake) => pokes.subscribe(activityTopic(userId), { onPoke: wake, onGap: wake }),
  });

  const subgraph = stack.use(
    await startSubgraph<Context>({
      name: NAME,
      host: env.HOST,
      port: env.PORT,
      typeDefs: loadTypeDefs(import.meta.dirname),
      resolvers: {
        SafeInt,
        DateTime,
        Query: {
          ...namespaceResolvers.Query,
          ...streamResolvers.Query,
          ...historyResolvers.Query,
          ...activityResolvers.Query,
          ...relayResolvers.Query,
        },
        Mutation: { ...entryResolvers.Mutation, ...activityResolvers.Mutation, ...erasureResolvers.Mutation },
        User: { ...streamResolvers.User, ...activityResolvers.User },
        QuotaRemaining: entryResolvers.QuotaRemaining,
        OpOutcome: entryResolvers.OpOutcome,
        FirstAnswer: entryResolvers.FirstAnswer,
        StateEntry: streamResolvers.StateEntry,
        Namespace: namespaceResolvers.Namespace,
        Device: { ...syncStatusResolvers.Device, ...activityResolvers.Device },
      },
      identity: createIdentityVerifier(env.GATEWAY_PUBLIC_KEY),
      health,
      logger,
      context: (base) => ({
        ...base,
        namespaces,
        entries: { push: (viewer, request) => pushes.run(() => entries.push(viewer, request)) },
        stream: longPoll,
        history,
        relay,
        syncStatusOf: createSyncStatusOf(syncStatuses),
        activities,
        takeOvers,
        resumeFor: createResumeFor({ store: activityStore, namespaces }),
        eraseState,
      }),
      routes: createArchiveRoutes({ now, logger, store: createArchiveStore(pool), exports }),
    }),
  );
  stack.defer(() => longPoll.close());
  const opened = stack.move();
  return { url: subgraph.url, local: subgraph.local, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}
