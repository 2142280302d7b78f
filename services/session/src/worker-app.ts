/** Composition root of session's workers: the jobs it is told to do, each on its queue. */
import { randomBytes } from "node:crypto";
import { assertMigrated, openDatabase } from "@continuo/database";
import { createHealth, createLogger, startHealthPort } from "@continuo/process";
import { startJobs, startOutboxRelay, startPokes } from "@continuo/signals";
import { v7 as newId } from "uuid";
import { announceKeys, createAnnouncer, SCHEMA } from "./announce.ts";
import { PrismaClient } from "./database/generated/client.ts";
import type { WorkerEnv } from "./env.ts";
import { createActivation } from "./policy/activation.ts";
import { createActivationStore } from "./policy/activation.store.ts";
import { applyPolicies, APPLY_EVERY_MS, createApplyPolicies } from "./policy/apply-policies.jobs.ts";
import { createSeal } from "./master-key/seal.ts";
import { createRetain, retain, RETAIN_EVERY_MS } from "./retention/retain.jobs.ts";
import { createRetentionStore } from "./retention/retention.store.ts";
import { createExpireSessions, EXPIRE_EVERY_MS, expireSessions } from "./revocation/expire-sessions.jobs.ts";
import { createFanOut, fanOutRevocation } from "./revocation/fan-out-revocation.jobs.ts";
import { createRevocationJobsStore } from "./revocation/jobs.store.ts";
import { createKeyRotation, rotationTimes } from "./signing-key/key-rotation.ts";
import { createRotateKeys, ROTATE_EVERY_MS, rotateKeys } from "./signing-key/rotate-keys.jobs.ts";
import { SIGNING_KEY_SEAL } from "./signing-key/signing-key.ts";
import { createSigningKeyStore } from "./signing-key/signing-key.store.ts";

/** Works on `env.JOBS` until disposed of, which waits for the handlers under way. */
export async function startWorkers(
  env: WorkerEnv,
  { now = () => new Date() }: { now?: () => Date } = {},
): Promise<AsyncDisposable> {
  const logger = createLogger({ name: "session-worker", level: env.LOG_LEVEL });
  await using opening = new AsyncDisposableStack();

  const { pool } = opening.use(
    openDatabase({
      url: env.DATABASE_URL,
      PrismaClient,
      applicationName: "continuo-session-worker",
      poolSize: env.DATABASE_POOL_SIZE,
      log: logger,
    }),
  );
  await assertMigrated(pool);
  const bus = { databaseUrl: env.DATABASE_URL, redisUrl: env.REDIS_URL, logger };
  const pokes = opening.use(await startPokes(bus));
  const jobs = opening.use(await startJobs(bus));
  const announce = createAnnouncer(pokes);
  const store = createRevocationJobsStore(pool);

  const start = {
    "apply-policies": async () => {
      const activation = createActivation({ store: createActivationStore(pool), announce, createId: newId, now });
      await jobs.work(applyPolicies, createApplyPolicies(activation), { concurrency: 1 });
      await jobs.every(applyPolicies, { everyMs: APPLY_EVERY_MS });
    },
    "expire-sessions": async () => {
      await jobs.work(expireSessions, createExpireSessions({ store, announce, createId: newId, now }), {
        concurrency: 1,
      });
      await jobs.every(expireSessions, { everyMs: EXPIRE_EVERY_MS });
    },
    "fan-out-revocation": async () => {
      await jobs.work(fanOutRevocation, createFanOut({ store, announce, now }));
      opening.use(
        await startOutboxRelay({ pool, schema: SCHEMA, jobs, definitions: [fanOutRevocation], pokes, logger }),
      );
    },
    retain: async () => {
      await jobs.work(retain, createRetain({ store: createRetentionStore(pool), now }), { concurrency: 1 });
      await jobs.every(retain, { everyMs: RETAIN_EVERY_MS });
    },
    "rotate-keys": async () => {
      const rotation = createKeyRotation({
        store: createSigningKeyStore(pool),
        seal: createSeal({ masterKeys: env.MASTER_KEY, purpose: SIGNING_KEY_SEAL, randomBytes }),
        times: rotationTimes(env.KEY_ROTATION_DAYS),
        announce: announceKeys(pokes),
        now,
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
