/** Composition root of session's workers: runs the configured jobs, each on its queue. */
import { randomBytes } from "node:crypto";
import { startDatabase } from "@continuo/database";
import { createHealth, createLogger, startHealthPort } from "@continuo/process";
import { applyUserEvents, type Pokes, startOutboxRelay, startPokes } from "@continuo/signals";
import { startJobs } from "@continuo/signals/jobs";
import { v7 as newId } from "uuid";
import { announceKeys, announcePosted, createAnnouncer, SCHEMA } from "./announce.ts";
import { PrismaClient } from "./database/generated/client.ts";
import { createDeliverNotice, DELIVER_CONCURRENCY, deliverNotice } from "./delivery/deliver-notice.jobs.ts";
import { createDelivery } from "./delivery/delivery.ts";
import { createDeliveryStore } from "./delivery/delivery.store.ts";
import { createLogoutTokenSigner } from "./delivery/logout-token.ts";
import { createMessages } from "./delivery/message.ts";
import { createPost } from "./delivery/post.ts";
import { createRecoverDeliveries, RECOVER_EVERY_MS, recoverDeliveries } from "./delivery/recover-deliveries.jobs.ts";
import { createRecoveryStore } from "./delivery/recovery.store.ts";
import type { WorkerEnv } from "./env.ts";
import { createActivation } from "./policy/activation.ts";
import { createActivationStore } from "./policy/activation.store.ts";
import { applyPolicies, APPLY_EVERY_MS, createApplyPolicies } from "./policy/apply-policies.jobs.ts";
import { createSeal } from "./master-key/seal.ts";
import { createRetain, retain, RETAIN_EVERY_MS } from "./retention/retain.jobs.ts";
import { createRetentionStore } from "./retention/retention.store.ts";
import { createApplyUserEvents } from "./revocation/apply-user-events.jobs.ts";
import { createApplyUserEventsStore } from "./revocation/apply-user-events.store.ts";
import { createExpireSessions, EXPIRE_EVERY_MS, expireSessions } from "./revocation/expire-sessions.jobs.ts";
import { createFanOut, fanOutRevocation } from "./revocation/fan-out-revocation.jobs.ts";
import { createRevocationJobsStore } from "./revocation/jobs.store.ts";
import { createKeyRing } from "./signing-key/key-ring.ts";
import { createKeyRotation, rotationTimes } from "./signing-key/key-rotation.ts";
import { createRotateKeys, ROTATE_EVERY_MS, rotateKeys } from "./signing-key/rotate-keys.jobs.ts";
import { SIGNING_KEY_SEAL } from "./signing-key/signing-key.ts";
import { createSigningKeyStore } from "./signing-key/signing-key.store.ts";
import { resealWebhooks } from "./webhook/reseal-webhooks.store.ts";
import { WEBHOOK_SEAL } from "./webhook/webhook.ts";

/** Replacements for a worker's own parts: `pokes` when the process runs more than this worker, the rest in tests. */
export interface WorkerOverrides {
  readonly pokes?: Pokes;
  readonly now?: () => Date;
  readonly retrySeconds?: readonly number[] | undefined;
  /** How long a worker may be silent before its jobs are given to another. Milliseconds. */
  readonly lockMs?: number;
}

/** Works on `env.JOBS` until disposed, which waits for running handlers. */
export async function startWorkers(
  env: WorkerEnv,
  { now = () => new Date(), pokes: shared, retrySeconds, lockMs }: WorkerOverrides = {},
): Promise<AsyncDisposable> {
  const logger = createLogger({ name: "session-worker", level: env.LOG_LEVEL });
  await using opening = new AsyncDisposableStack();

  const { pool } = opening.use(
    await startDatabase({
      url: env.DATABASE_URL,
      schema: SCHEMA,
      PrismaClient,
      applicationName: "continuo-session-worker",
      poolSize: env.DATABASE_POOL_SIZE,
      log: logger,
    }),
  );
  const bus = { databaseUrl: env.DATABASE_URL, redisUrl: env.REDIS_URL, logger };
  const pokes = shared ?? opening.use(await startPokes(bus));
  const post = opening.use(createPost({ allowPrivate: env.PRIVATE_RECIPIENTS === "allow" }));
  const jobs = opening.use(await startJobs({ ...bus, ...(lockMs !== undefined && { lockMs }) }));
  const announce = createAnnouncer(pokes);
  const store = createRevocationJobsStore(pool);
  const signingKeys = {
    store: createSigningKeyStore(pool),
    seal: createSeal({ masterKeys: env.MASTER_KEY, purpose: SIGNING_KEY_SEAL, randomBytes }),
    now,
  };
  const keys = createKeyRing(signingKeys);
  // A wrong MASTER_KEY is no start.
  await keys.current();

  const start = {
    "apply-policies": async () => {
      const activation = createActivation({ store: createActivationStore(pool), announce, now });
      await jobs.work(applyPolicies, createApplyPolicies(activation), { concurrency: 1 });
      await jobs.every(applyPolicies, { everyMs: APPLY_EVERY_MS });
    },
    "deliver-notices": async () => {
      const { MASTER_KEY: masterKeys, TOKEN_ISSUER: issuer = "" } = env;
      const seal = createSeal({ masterKeys, purpose: WEBHOOK_SEAL, randomBytes });
      if (masterKeys.length > 1) await resealWebhooks(pool, seal);
      const delivery = createDelivery({
        store: createDeliveryStore(pool),
        send: (...message) => post.send(...message),
        messageFor: createMessages({
          seal,
          logoutTokens: createLogoutTokenSigner({ keys, issuer, createId: newId }),
        }),
        random: Math.random,
        now,
        schedule: retrySeconds,
      });
      await jobs.work(deliverNotice, createDeliverNotice(delivery), { concurrency: DELIVER_CONCURRENCY });
    },
    "apply-user-events": async () => {
      const applyEvent = createApplyUserEvents({ store: createApplyUserEventsStore(pool), announce, now });
      await jobs.work(applyUserEvents, applyEvent);
    },
    "expire-sessions": async () => {
      await jobs.work(expireSessions, createExpireSessions({ store, announce, now }), {
        concurrency: 1,
      });
      await jobs.every(expireSessions, { everyMs: EXPIRE_EVERY_MS });
    },
    "fan-out-revocation": async () => {
      const posted = announcePosted(pokes);
      await jobs.work(fanOutRevocation, createFanOut({ store, announce: { ...announce, posted }, now }));
      const recover = createRecoverDeliveries({ store: createRecoveryStore(pool), posted, now });
      await jobs.work(recoverDeliveries, recover, { concurrency: 1 });
      await jobs.every(recoverDeliveries, { everyMs: RECOVER_EVERY_MS });
      const definitions = [fanOutRevocation, deliverNotice];
      opening.use(await startOutboxRelay({ pool, schema: SCHEMA, jobs, definitions, pokes, logger }));
    },
    retain: async () => {
      await jobs.work(retain, createRetain({ store: createRetentionStore(pool), now }), { concurrency: 1 });
      await jobs.every(retain, { everyMs: RETAIN_EVERY_MS });
    },
    "rotate-keys": async () => {
      const rotation = createKeyRotation({
        ...signingKeys,
        times: rotationTimes(env.KEY_ROTATION_DAYS),
        announce: announceKeys(pokes),
      });
      await jobs.work(rotateKeys, createRotateKeys(rotation), { concurrency: 1 });
      await jobs.every(rotateKeys, { everyMs: ROTATE_EVERY_MS });
    },
  };
  for (const name of new Set(env.JOBS)) await start[name]();
  if (env.HEALTH_PORT !== undefined) {
    const health = createHealth();
    health.add("database", async () => pool.query("SELECT 1"));
    opening.use(await startHealthPort({ host: env.HOST, port: env.HEALTH_PORT, health }));
  }
  logger.info({ jobs: env.JOBS }, "session workers are at work");

  const opened = opening.move();
  return { [Symbol.asyncDispose]: async () => opened.disposeAsync() };
}
