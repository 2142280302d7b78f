/**
 * A system for delivery tests: applications and webhooks that tests create, the workers, and the state of each
 * delivery.
 */
import { randomBytes } from "node:crypto";
import { createLogger } from "@continuo/process";
import { outboxTopic, startPokes } from "@continuo/signals";
import { createLocalJWKSet, type JWK, jwtVerify } from "jose";
import { Pool } from "pg";
import { v7 as newId } from "uuid";
import { expect, vi } from "vitest";
import { z } from "zod";
import { SCHEMA } from "./announce.ts";
import { WorkerEnv } from "./env.ts";
import { createSeal } from "./master-key/seal.ts";
import { createSigningKeyStore } from "./signing-key/signing-key.store.ts";
import { startSystem, type System } from "./system.fixture.ts";
import { createWebhooks, WEBHOOK_SEAL } from "./webhook/webhook.ts";
import { createWebhookStore } from "./webhook/webhook.store.ts";
import { startWorkers } from "./worker-app.ts";
import { LOGOUT_EVENT } from "./delivery/logout-token.ts";
import type { Received } from "./delivery/receiver.fixture.ts";

/** Load may be high; nothing here is about speed. */
export const soon = { timeout: 60_000, interval: 50 };
/** A schedule of retries that tests can wait for. Seconds. */
export const QUICKLY: readonly number[] = [0.1, 0.1, 0.1];
/** Short, so that a killed worker is missed soon. */
const LOCK_MS = 2_000;
/** How often workers are poked to look for due rows, which they otherwise do every 5 s. */
const POKE_EVERY_MS = 100;

const Logout = z.object({ jti: z.string(), sid: z.string(), sub: z.string(), exp: z.number(), iat: z.number() });

interface Told {
  readonly attempts: number;
  readonly error: string | null;
  readonly delivered: boolean;
  readonly failed: boolean;
}

export interface Deliveries extends AsyncDisposable {
  readonly system: System;
  /** Session's own role. */
  readonly pool: Pool;
  /** A worker's environment; `jobs` default to fan-out and deliveries. */
  environment(jobs?: string): Record<string, string>;
  /** Workers, until disposed; poked continually, so that no test waits for their own polling. */
  work(retrySeconds?: readonly number[], jobs?: string): Promise<AsyncDisposable>;
  /** The same without pokes: they find due rows by their own polling. */
  workUnpoked(retrySeconds?: readonly number[], jobs?: string): Promise<AsyncDisposable>;
  /** A new application, so that no test gets notices of another's sessions. */
  application(logoutUri?: string | null): Promise<string>;
  addWebhook(applicationId: string, url: string): Promise<{ id: string; secret: string }>;
  signInAndOut(applicationId: string): Promise<{ sessionId: string; userId: string }>;
  /** The delivery rows of a recipient, oldest first. */
  deliveryTo(recipient: string): Promise<Told[]>;
  /** Waits until a recipient has received this many entries. */
  delivered(recipient: string, entries?: number): Promise<void>;
  /** The claims of a logout token, verified as an application would. */
  verifyLogout(received: Received, audience: string): Promise<z.infer<typeof Logout>>;
}

/** Over Redis when its address is given, else over Postgres. */
export async function startDeliveries(redisUrl?: string): Promise<Deliveries> {
  await using opening = new AsyncDisposableStack();
  const system = opening.use(await startSystem());
  const pool = opening.adopt(new Pool({ connectionString: system.env.DATABASE_URL }), (each) => each.end());
  pool.on("error", () => undefined);
  const logger = createLogger({ name: "test", level: "silent" });
  const pokes = opening.use(await startPokes({ databaseUrl: system.env.DATABASE_URL, redisUrl, logger }));

  const deliveries: Omit<Deliveries, typeof Symbol.asyncDispose> = {
    system,
    pool,
    environment: (jobs = "fan-out-revocation,deliver-notices") => ({
      LOG_LEVEL: "silent",
      DATABASE_URL: system.env.DATABASE_URL,
      MASTER_KEY: system.env.MASTER_KEY[0].toString("base64url"),
      TOKEN_ISSUER: system.env.TOKEN_ISSUER,
      PRIVATE_RECIPIENTS: "allow",
      JOBS: jobs,
      ...(redisUrl !== undefined && { REDIS_URL: redisUrl }),
    }),
    async work(retrySeconds, jobs) {
      await using stack = new AsyncDisposableStack();
      stack.use(await deliveries.workUnpoked(retrySeconds, jobs));
      const timer = setInterval(() => void pokes.publish(outboxTopic(SCHEMA), 0), POKE_EVERY_MS);
      stack.defer(() => clearInterval(timer));
      return stack.move();
    },
    workUnpoked: (retrySeconds = QUICKLY, jobs) =>
      startWorkers(WorkerEnv.parse(deliveries.environment(jobs)), {
        retrySeconds,
        lockMs: LOCK_MS,
        now: () => system.clock.now,
      }),

    async application(logoutUri = null) {
      const id = `app-${newId()}`;
      await system.admin.query(
        `INSERT INTO session.applications (id, name, created_at, backchannel_logout_uri) VALUES ($1, $1, now(), $2)`,
        [id, logoutUri],
      );
      await system.admin.query(
        `INSERT INTO session.policies SELECT (jsonb_populate_record(p, jsonb_build_object('application_id', $1::text))).*
           FROM session.policies AS p WHERE p.state = 'ACTIVE' ORDER BY p.idle_seconds DESC LIMIT 1`,
        [id],
      );
      return id;
    },

    async addWebhook(applicationId, url) {
      const { webhook, secret } = await createWebhooks({
        store: createWebhookStore(pool),
        seal: createSeal({ masterKeys: system.env.MASTER_KEY, purpose: WEBHOOK_SEAL, randomBytes }),
        send: async () => ({ fault: "UNREACHABLE" }),
        allowPrivate: true,
        createId: newId,
        randomBytes,
        now: () => system.clock.now,
      }).add({ url, applicationId });
      return { id: webhook.id, secret };
    },

    async signInAndOut(applicationId) {
      const session = await system.person().signIn({ applicationId });
      await session.data("mutation { signOut { receipt { seq } } }");
      return session.viewer;
    },

    async deliveryTo(recipient) {
      const { rows } = await pool.query<Told>(
        `SELECT attempts, last_error AS error, delivered_at IS NOT NULL AS delivered, failed_at IS NOT NULL AS failed
           FROM session.revocation_deliveries WHERE recipient = $1 ORDER BY seq`,
        [recipient],
      );
      return rows;
    },

    delivered: (recipient, entries = 1) =>
      vi.waitFor(async () => {
        const told = (await deliveries.deliveryTo(recipient)).map(({ delivered }) => delivered);
        expect(told).toEqual(Array.from({ length: entries }, () => true));
      }, soon),

    async verifyLogout({ headers, body }, audience) {
      expect(headers["content-type"]).toBe("application/x-www-form-urlencoded");
      const keys: JWK[] = await createSigningKeyStore(pool).published();
      const { payload } = await jwtVerify(
        new URLSearchParams(body).get("logout_token") ?? "",
        createLocalJWKSet({ keys }),
        { issuer: system.env.TOKEN_ISSUER, audience, typ: "logout+jwt", currentDate: system.clock.now },
      );
      expect(payload["events"]).toEqual({ [LOGOUT_EVENT]: {} });
      expect(payload).not.toHaveProperty("nonce");
      return Logout.parse(payload);
    },
  };
  const opened = opening.move();
  return { ...deliveries, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}
