/** The promises of delivery to other systems, over real HTTP, Postgres and either job backend. */
import type { Pool } from "pg";
import { Webhook as Verifier } from "standardwebhooks";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { System } from "../system.fixture.ts";
import { startWorkerProcess } from "../worker-process.fixture.ts";
import { createWebhookStore } from "../webhook/webhook.store.ts";
import { createDeadLetterStore } from "./dead-letter.store.ts";
import { type Deliveries, QUICKLY, soon, startDeliveries } from "../delivery.fixture.ts";
import { createPost } from "./post.ts";
import { createRecoveryStore } from "./recovery.store.ts";
import { type Receiver, startReceiver } from "./receiver.fixture.ts";

const NEVER_DONE = Array.from({ length: 500 }, () => 0.2);

/** `clearQueues` forgets all jobs, as a Redis without an append-only file does. */
export function describeDelivery(
  name: string,
  redisUrl: () => string | undefined,
  clearQueues: (deliveries: Deliveries) => Promise<void>,
): void {
  describe(`deliveries over ${name}`, () => {
    let deliveries: Deliveries;
    let system: System;
    let pool: Pool;
    beforeAll(async () => {
      deliveries = await startDeliveries(redisUrl());
      ({ system, pool } = deliveries);
    });
    afterAll(() => deliveries[Symbol.asyncDispose]());
    const loseQueues = (): Promise<void> => clearQueues(deliveries);

    it("tell a webhook signed, under one id over all attempts, until it takes it", async () => {
      await using receiver = await startReceiver();
      const app = await deliveries.application();
      const { id, secret } = await deliveries.addWebhook(app, `${receiver.url}/hook`);
      let failures = 2;
      receiver.answer = (response) => void response.writeHead(failures-- > 0 ? 500 : 200).end("thanks");
      const { sessionId, userId } = await deliveries.signInAndOut(app);
      await using _ = await deliveries.work(QUICKLY);
      await vi.waitFor(async () => {
        expect(await deliveries.deliveryTo(`webhook:${id}`)).toEqual([
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
      const app = await deliveries.application(`${receiver.url}/logout`);
      let failures = 1;
      receiver.answer = (response) => void response.writeHead(failures-- > 0 ? 400 : 200).end();
      const person = system.person();
      const sessions = [await person.signIn({ applicationId: app }), await person.signIn({ applicationId: app })];
      for (const session of sessions) await session.data("mutation { signOut { receipt { seq } } }");
      await using _ = await deliveries.workUnpoked(QUICKLY);
      await vi.waitFor(async () => {
        for (const { viewer } of sessions) {
          expect(await deliveries.deliveryTo(`logout:${viewer.sessionId}`)).toMatchObject([{ delivered: true }]);
        }
      }, soon);
      const tokens = await Promise.all(receiver.received.map((each) => deliveries.verifyLogout(each, app)));
      expect(tokens).toHaveLength(3);
      expect(new Set(tokens.map(({ jti }) => jti)).size).toBe(3);
      expect(new Set(tokens.map(({ sid }) => sid))).toEqual(new Set(sessions.map(({ viewer }) => viewer.sessionId)));
      for (const { exp, iat } of tokens) expect(exp - iat).toBeLessThanOrEqual(120);
    });

    it("give up after the last attempt, and start afresh when an operator says so", async () => {
      await using receiver = await startReceiver();
      const app = await deliveries.application();
      const { id } = await deliveries.addWebhook(app, receiver.url);
      const recipient = `webhook:${id}`;
      receiver.answer = (response) => void response.writeHead(503).end();
      await deliveries.signInAndOut(app);
      await using _ = await deliveries.work(QUICKLY);
      await vi.waitFor(async () => {
        expect(await deliveries.deliveryTo(recipient)).toEqual([
          { attempts: 4, error: "HTTP_503", delivered: false, failed: true },
        ]);
      }, soon);
      const letters = createDeadLetterStore(pool);
      expect(await letters.list({ recipient }, 10)).toMatchObject([{ recipient, attempts: 4, lastError: "HTTP_503" }]);
      expect(await letters.retry({ recipient: "webhook:nobody" })).toBe(0);
      receiver.answer = (response) => void response.writeHead(204).end();
      expect(await letters.retry({ recipient })).toBe(1);
      await deliveries.delivered(recipient);
      expect(await deliveries.deliveryTo(recipient)).toMatchObject([{ attempts: 1, error: null, failed: false }]);
      expect(await letters.list({ recipient }, 10)).toEqual([]);
      expect(receiver.received).toHaveLength(5);
    });

    it("tell a webhook that is Gone nothing more, and keep what it was told", async () => {
      await using receiver = await startReceiver();
      const app = await deliveries.application();
      const { id } = await deliveries.addWebhook(app, receiver.url);
      const bystander = await deliveries.addWebhook(await deliveries.application(), receiver.url);
      await using _ = await deliveries.work(QUICKLY);
      await deliveries.signInAndOut(app);
      await deliveries.delivered(`webhook:${id}`);
      receiver.answer = (response) => void response.writeHead(410).end();
      await deliveries.signInAndOut(app);
      const disabled = async (): Promise<string[]> =>
        (await createWebhookStore(pool).list()).filter((each) => each.disabledAt !== null).map((each) => each.id);
      await vi.waitFor(async () => expect(await disabled()).toContain(id), soon);
      expect(await disabled()).not.toContain(bystander.id);
      await deliveries.delivered(`webhook:${id}`);
      const other = await deliveries.addWebhook(app, `${receiver.url}/other`);
      receiver.answer = (response) => void response.writeHead(204).end();
      await deliveries.signInAndOut(app);
      await vi.waitFor(async () => {
        expect(await deliveries.deliveryTo(`webhook:${other.id}`)).toMatchObject([{ delivered: true }]);
      }, soon);
      expect(receiver.received.map(({ path }) => path)).toEqual(["/", "/", "/other"]);
      await deliveries.delivered(`webhook:${id}`);
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
      const [slow, quick] = [
        await deliveries.application(`${hanging.url}/out`),
        await deliveries.application(`${receiver.url}/out`),
      ];
      for (let count = 0; count < 24; count += 1) await deliveries.signInAndOut(slow);
      await using _ = await deliveries.work(NEVER_DONE);
      await vi.waitFor(() => expect(hanging.received.length).toBeGreaterThanOrEqual(3), soon);
      const open = hanging.received.length;
      const { sessionId } = await deliveries.signInAndOut(quick);
      await vi.waitFor(
        async () => expect(await deliveries.deliveryTo(`logout:${sessionId}`)).toMatchObject([{ delivered: true }]),
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
      const app = await deliveries.application(`${receiver.url}/out`);
      receiver.answer = () => undefined;
      const { sessionId } = await deliveries.signInAndOut(app);
      {
        await using _ = startWorkerProcess(deliveries.environment());
        await vi.waitFor(() => expect(receiver.received).toHaveLength(1), soon);
      }
      expect(await deliveries.deliveryTo(`logout:${sessionId}`)).toMatchObject([{ attempts: 0, delivered: false }]);
      receiver.answer = (response) => void response.writeHead(200).end();
      await using _ = await deliveries.work(QUICKLY);
      await vi.waitFor(async () => {
        expect(await deliveries.deliveryTo(`logout:${sessionId}`)).toEqual([
          { attempts: 1, error: null, delivered: true, failed: false },
        ]);
      }, soon);
      const tokens = await Promise.all(receiver.received.map((each) => deliveries.verifyLogout(each, app)));
      expect(tokens.map(({ sid }) => sid)).toEqual([sessionId, sessionId]);
    });

    it("lose nothing when the worker is killed between the commit and the queue", async () => {
      await using receiver = await startReceiver();
      const app = await deliveries.application(`${receiver.url}/out`);
      await system.admin.query(`
        CREATE FUNCTION session.not_yet() RETURNS trigger LANGUAGE plpgsql AS
          $$ BEGIN NEW.due_at := now() + interval '1 hour'; RETURN NEW; END $$;
        CREATE TRIGGER not_yet BEFORE INSERT ON session.outbox
          FOR EACH ROW WHEN (NEW.topic = 'deliver-notice') EXECUTE FUNCTION session.not_yet()`);
      const { sessionId } = await deliveries.signInAndOut(app);
      {
        await using _ = startWorkerProcess(deliveries.environment());
        await vi.waitFor(
          async () => expect(await deliveries.deliveryTo(`logout:${sessionId}`)).toMatchObject([{ attempts: 0 }]),
          soon,
        );
      }
      await system.admin.query(`
        DROP FUNCTION session.not_yet CASCADE;
        UPDATE session.outbox SET due_at = NULL WHERE enqueued_at IS NULL AND topic = 'deliver-notice'`);
      expect(receiver.received).toEqual([]);
      await using _ = await deliveries.work();
      await deliveries.delivered(`logout:${sessionId}`);
      expect(receiver.received).toHaveLength(1);
    });

    it("come nevertheless when the queue has lost its data, before or after the fan-out", async () => {
      await using receiver = await startReceiver();
      const app = await deliveries.application(`${receiver.url}/out`);
      const early = await deliveries.signInAndOut(app);
      {
        await using _ = await deliveries.work(QUICKLY, "fan-out-revocation");
        const waiting = (): Promise<unknown> => deliveries.deliveryTo(`logout:${early.sessionId}`);
        await vi.waitFor(async () => expect(await waiting()).toMatchObject([{ delivered: false }]), soon);
        await vi.waitFor(async () => {
          const { rows } = await pool.query("SELECT FROM session.outbox WHERE enqueued_at IS NULL");
          expect(rows).toHaveLength(0);
        }, soon);
      }
      const late = await deliveries.signInAndOut(app);
      await pool.query("UPDATE session.outbox SET enqueued_at = now() WHERE enqueued_at IS NULL");
      await loseQueues();
      {
        await using _ = await deliveries.work();
        const bystander = await deliveries.signInAndOut(app);
        await deliveries.delivered(`logout:${bystander.sessionId}`);
        expect(receiver.received).toHaveLength(1);
      }
      await loseQueues();
      await pool.query(`
        WITH entries AS (UPDATE session.revocations SET at = at - interval '1 hour'),
             posted AS (UPDATE session.outbox SET enqueued_at = enqueued_at - interval '1 hour')
        UPDATE session.revocation_deliveries SET due_at = due_at - interval '1 hour' WHERE due_at IS NOT NULL`);
      await using _one = await deliveries.work();
      await using _two = await deliveries.work();
      for (const { sessionId } of [early, late]) await deliveries.delivered(`logout:${sessionId}`);
      const tokens = await Promise.all(receiver.received.slice(1).map((each) => deliveries.verifyLogout(each, app)));
      expect(tokens.map(({ sid }) => sid).toSorted()).toEqual([early.sessionId, late.sessionId].toSorted());
      expect(await createRecoveryStore(pool).recover(new Date())).toEqual({ revocations: 0, deliveries: 0 });
    });
  });
}
