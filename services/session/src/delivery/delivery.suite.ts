/** What telling other systems promises, over real HTTP, Postgres and whatever carries the jobs. */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { createLocalJWKSet, type JWK, jwtVerify } from "jose";
import { Pool } from "pg";
import { Webhook as Verifier } from "standardwebhooks";
import { v7 as newId } from "uuid";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { z } from "zod";
import { WorkerEnv } from "../env.ts";
import { createSeal } from "../master-key/seal.ts";
import { createSigningKeyStore } from "../signing-key/signing-key.store.ts";
import { startSystem, type System } from "../system.fixture.ts";
import { createWebhooks, WEBHOOK_SEAL } from "../webhook/webhook.ts";
import { createWebhookStore } from "../webhook/webhook.store.ts";
import { startWorkers } from "../worker-app.ts";
import { createDeadLetterStore } from "./dead-letter.store.ts";
import { LOGOUT_EVENT } from "./logout-token.ts";
import { createPost } from "./post.ts";
import { type Received, type Receiver, startReceiver } from "./receiver.fixture.ts";

const soon = { timeout: 60_000, interval: 50 };
const QUICKLY = [0.1, 0.1, 0.1];
const NEVER_DONE = Array.from({ length: 500 }, () => 0.2);
const Logout = z.object({ jti: z.string(), sid: z.string(), sub: z.string(), exp: z.number(), iat: z.number() });

export function describeDelivery(name: string, redisUrl: () => string | undefined): void {
  describe(`deliveries over ${name}`, { timeout: 120_000 }, () => {
    let system: System;
    let pool: Pool;
    beforeAll(async () => {
      system = await startSystem();
      pool = new Pool({ connectionString: system.env.DATABASE_URL });
      pool.on("error", () => undefined);
    });
    afterAll(async () => {
      await pool.end();
      await system[Symbol.asyncDispose]();
    });

    const environment = (jobs = "fan-out-revocation,deliver-notices", more: Record<string, string> = {}) => {
      const redis = redisUrl();
      return {
        LOG_LEVEL: "silent",
        DATABASE_URL: system.env.DATABASE_URL,
        MASTER_KEY: system.env.MASTER_KEY[0].toString("base64url"),
        TOKEN_ISSUER: system.env.TOKEN_ISSUER,
        PRIVATE_RECIPIENTS: "allow",
        JOBS: jobs,
        ...(redis !== undefined && { REDIS_URL: redis }),
        ...more,
      };
    };
    const work = (retrySeconds: readonly number[], more?: Record<string, string>): Promise<AsyncDisposable> =>
      startWorkers(WorkerEnv.parse(environment(undefined, more)), { retrySeconds });

    /** A new application, so that no test is told of another's sessions. */
    async function application(logoutUri: string | null = null): Promise<string> {
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
    }

    const addWebhook = async (applicationId: string, url: string): Promise<{ id: string; secret: string }> => {
      const { webhook, secret } = await createWebhooks({
        store: createWebhookStore(pool),
        seal: createSeal({ masterKeys: system.env.MASTER_KEY, purpose: WEBHOOK_SEAL, randomBytes }),
        send: async () => ({ fault: "UNREACHABLE" }),
        allowPrivate: true,
        createId: newId,
        randomBytes,
        now: () => new Date(),
      }).add({ url, applicationId });
      return { id: webhook.id, secret };
    };

    async function signInAndOut(applicationId: string): Promise<{ sessionId: string; userId: string }> {
      const session = await system.person().signIn({ applicationId });
      await session.data("mutation { signOut { receipt { seq } } }");
      return session.viewer;
    }

    const deliveryTo = async (recipient: string) =>
      (
        await pool.query<{ attempts: number; error: string | null; delivered: boolean; failed: boolean }>(
          `SELECT attempts, last_error AS error, delivered_at IS NOT NULL AS delivered, failed_at IS NOT NULL AS failed
             FROM session.revocation_deliveries WHERE recipient = $1 ORDER BY seq`,
          [recipient],
        )
      ).rows;

    const verifyLogout = async ({ headers, body }: Received, audience: string) => {
      expect(headers["content-type"]).toBe("application/x-www-form-urlencoded");
      const keys: JWK[] = await createSigningKeyStore(pool).published();
      const { payload } = await jwtVerify(
        new URLSearchParams(body).get("logout_token") ?? "",
        createLocalJWKSet({ keys }),
        { issuer: system.env.TOKEN_ISSUER, audience, typ: "logout+jwt" },
      );
      expect(payload["events"]).toEqual({ [LOGOUT_EVENT]: {} });
      expect(payload).not.toHaveProperty("nonce");
      return Logout.parse(payload);
    };

    it("tell a webhook signed, under one id over all attempts, until it takes it", async () => {
      await using receiver = await startReceiver();
      const app = await application();
      const { id, secret } = await addWebhook(app, `${receiver.url}/hook`);
      let failures = 2;
      receiver.answer = (response) => void response.writeHead(failures-- > 0 ? 500 : 200).end("thanks");
      const { sessionId, userId } = await signInAndOut(app);
      await using _ = await work(QUICKLY);
      await vi.waitFor(async () => {
        expect(await deliveryTo(`webhook:${id}`)).toEqual([
          { attempts: 3, error: null, delivered: true, failed: false },
        ]);
      }, soon);
      expect(receiver.received).toHaveLength(3);
      expect(new Set(receiver.received.map(({ headers }) => headers["webhook-id"])).size).toBe(1);
      for (const { headers, body } of receiver.received) {
        const signed = Object.fromEntries(
          ["webhook-id", "webhook-timestamp", "webhook-signature"].map((each) => [each, String(headers[each])]),
        );
        expect(new Verifier(secret).verify(body, signed)).toMatchObject({
          type: "session.ended",
          data: { sub: userId, reason: "SIGNED_OUT", sessions: [{ sid: sessionId, client_id: app }] },
        });
        expect(() => new Verifier(secret).verify(`${body} `, signed)).toThrow("No matching signature found");
      }
    });

    it("tell an application of each session that ended, with a fresh logout token for each attempt", async () => {
      await using receiver = await startReceiver();
      const app = await application(`${receiver.url}/logout`);
      let failures = 1;
      receiver.answer = (response) => void response.writeHead(failures-- > 0 ? 400 : 200).end();
      const person = system.person();
      const sessions = [await person.signIn({ applicationId: app }), await person.signIn({ applicationId: app })];
      for (const session of sessions) await session.data("mutation { signOut { receipt { seq } } }");
      await using _ = await work(QUICKLY);
      await vi.waitFor(async () => {
        for (const { viewer } of sessions) {
          expect(await deliveryTo(`logout:${viewer.sessionId}`)).toMatchObject([{ delivered: true }]);
        }
      }, soon);
      const tokens = await Promise.all(receiver.received.map((each) => verifyLogout(each, app)));
      expect(tokens).toHaveLength(3);
      expect(new Set(tokens.map(({ jti }) => jti)).size).toBe(3);
      expect(new Set(tokens.map(({ sid }) => sid))).toEqual(new Set(sessions.map(({ viewer }) => viewer.sessionId)));
      for (const { exp, iat } of tokens) expect(exp - iat).toBeLessThanOrEqual(120);
    });

    it("give up after the last attempt, and start afresh when an operator says so", async () => {
      await using receiver = await startReceiver();
      const app = await application();
      const { id } = await addWebhook(app, receiver.url);
      const recipient = `webhook:${id}`;
      receiver.answer = (response) => void response.writeHead(503).end();
      await signInAndOut(app);
      await using _ = await work(QUICKLY);
      await vi.waitFor(async () => {
        expect(await deliveryTo(recipient)).toEqual([
          { attempts: 4, error: "HTTP_503", delivered: false, failed: true },
        ]);
      }, soon);
      const letters = createDeadLetterStore(pool);
      expect(await letters.list({ recipient }, 10)).toMatchObject([{ recipient, attempts: 4, lastError: "HTTP_503" }]);
      expect(await letters.retry({ recipient: "webhook:nobody" })).toBe(0);
      receiver.answer = (response) => void response.writeHead(204).end();
      expect(await letters.retry({ recipient })).toBe(1);
      await vi.waitFor(async () => expect(await deliveryTo(recipient)).toMatchObject([{ delivered: true }]), soon);
      expect(await letters.list({ recipient }, 10)).toEqual([]);
      expect(receiver.received).toHaveLength(5);
    });

    it("tell a webhook that is Gone nothing more", async () => {
      await using receiver = await startReceiver();
      const app = await application();
      const { id } = await addWebhook(app, receiver.url);
      receiver.answer = (response) => void response.writeHead(410).end();
      await using _ = await work(QUICKLY);
      await signInAndOut(app);
      const disabled = async (): Promise<boolean> =>
        (await createWebhookStore(pool).list()).some((each) => each.id === id && each.disabledAt !== null);
      await vi.waitFor(async () => expect(await disabled()).toBe(true), soon);
      expect(await deliveryTo(`webhook:${id}`)).toEqual([]);
      const other = await addWebhook(app, `${receiver.url}/other`);
      receiver.answer = (response) => void response.writeHead(204).end();
      await signInAndOut(app);
      await vi.waitFor(async () => {
        expect(await deliveryTo(`webhook:${other.id}`)).toMatchObject([{ delivered: true }]);
      }, soon);
      expect(receiver.received.map(({ path }) => path)).toEqual(["/", "/other"]);
      expect(await deliveryTo(`webhook:${id}`)).toEqual([]);
    });

    it("follow no redirect, and go to no private address unless that is allowed", async () => {
      await using receiver = await startReceiver();
      await using elsewhere: Receiver = await startReceiver();
      receiver.answer = (response) => void response.writeHead(307, { location: elsewhere.url }).end();
      await using lenient = createPost({ allowPrivate: true });
      await using strict = createPost({ allowPrivate: false });
      const message = { headers: {}, body: "" };
      const send = (post: typeof strict, url: string): ReturnType<typeof post.send> =>
        post.send(url, message, new AbortController().signal);
      expect(await send(lenient, receiver.url)).toMatchObject({ status: 307 });
      expect(elsewhere.received).toEqual([]);
      const { port } = new URL(receiver.url);
      for (const host of ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]"]) {
        for (const scheme of ["http", "https"]) {
          expect(await send(strict, `${scheme}://${host}:${port}`)).toEqual({ fault: "ADDRESS_REFUSED" });
        }
      }
      expect(receiver.received).toHaveLength(1);
    });

    it("wait no longer than allowed, for a head or a body", async () => {
      await using receiver = await startReceiver();
      await using post = createPost({ allowPrivate: true, timeoutMs: 300 });
      const send = (): ReturnType<typeof post.send> =>
        post.send(receiver.url, { headers: {}, body: "" }, new AbortController().signal);
      receiver.answer = () => undefined;
      expect(await send()).toEqual({ fault: "TIMED_OUT" });
      receiver.answer = (response) => void response.writeHead(200).write("on and on");
      expect(await send()).toMatchObject({ status: 200 });
    });

    it("to one address that hangs hold up no other", async () => {
      await using hanging = await startReceiver();
      await using receiver = await startReceiver();
      hanging.answer = () => undefined;
      const [slow, quick] = [await application(`${hanging.url}/out`), await application(`${receiver.url}/out`)];
      for (let count = 0; count < 24; count += 1) await signInAndOut(slow);
      await using _ = await work(NEVER_DONE);
      await vi.waitFor(() => expect(hanging.received.length).toBeGreaterThanOrEqual(3), soon);
      const open = hanging.received.length;
      const { sessionId } = await signInAndOut(quick);
      await vi.waitFor(
        async () => expect(await deliveryTo(`logout:${sessionId}`)).toMatchObject([{ delivered: true }]),
        soon,
      );
      expect(open).toBeLessThanOrEqual(6);
      expect(hanging.received.length).toBeLessThan(24);
      await pool.query(
        "UPDATE session.revocation_deliveries SET failed_at = now(), due_at = NULL WHERE due_at IS NOT NULL",
      );
    });

    it("lose nothing when the worker is killed between the request and its note", async () => {
      await using receiver = await startReceiver();
      const app = await application(`${receiver.url}/out`);
      receiver.answer = () => undefined;
      const { sessionId } = await signInAndOut(app);
      const child = spawn(process.execPath, [fileURLToPath(new URL("../worker.fixture.ts", import.meta.url))], {
        env: environment(),
        stdio: ["ignore", "ignore", "inherit"],
      });
      const exited = once(child, "exit");
      await vi.waitFor(() => expect(receiver.received).toHaveLength(1), soon);
      child.kill("SIGKILL");
      await exited;
      expect(await deliveryTo(`logout:${sessionId}`)).toMatchObject([{ attempts: 0, delivered: false }]);
      receiver.answer = (response) => void response.writeHead(200).end();
      await using _ = await work(QUICKLY);
      await vi.waitFor(async () => {
        expect(await deliveryTo(`logout:${sessionId}`)).toEqual([
          { attempts: 1, error: null, delivered: true, failed: false },
        ]);
      }, soon);
      const tokens = await Promise.all(receiver.received.map((each) => verifyLogout(each, app)));
      expect(tokens.map(({ sid }) => sid)).toEqual([sessionId, sessionId]);
    });
  });
}
