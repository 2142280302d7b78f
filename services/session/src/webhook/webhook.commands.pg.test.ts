import { costOf } from "@continuo/testkit";
import { Webhook as Verifier } from "standardwebhooks";
import { v7 as newId } from "uuid";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { LIST } from "../delivery/dead-letter.store.ts";
import { type Deliveries, startDeliveries } from "../delivery.fixture.ts";
import { startReceiver } from "../delivery/receiver.fixture.ts";
import { operate, type Outcome } from "../operator.fixture.ts";

const Added = z.object({ id: z.uuid(), secret: z.string() });

let deliveries: Deliveries;
beforeAll(async () => {
  deliveries = await startDeliveries();
});
afterAll(() => deliveries[Symbol.asyncDispose]());

const continuo = (...argv: string[]): Promise<Outcome> => operate(deliveries.system, ...argv);
const add = async (...argv: string[]): Promise<z.infer<typeof Added>> =>
  Added.parse((await continuo("webhooks", "add", ...argv)).value);

describe("an operator", () => {
  it("adds a webhook, whose secret is shown once, tries it, and disables it", async () => {
    await using receiver = await startReceiver();
    const app = await deliveries.application();
    const url = `${receiver.url}/hook`;
    expect(await continuo("webhooks", "add", url)).toMatchObject({
      code: 1,
      said: expect.stringContaining("WEBHOOK_URL_INVALID"),
    });
    const dry = await continuo("webhooks", "add", url, "--application", app, "--allow-private", "--dry-run");
    expect(dry).toMatchObject({ code: 0, value: { url, dryRun: true } });
    const unknown = await continuo("webhooks", "add", url, "--application", "nobody", "--allow-private");
    expect(unknown).toMatchObject({ code: 1, said: expect.stringContaining("APPLICATION_NOT_FOUND") });
    const dryUnknown = await continuo(
      "webhooks",
      "add",
      url,
      "--application",
      "nobody",
      "--allow-private",
      "--dry-run",
    );
    expect(dryUnknown).toMatchObject({ code: 1, said: expect.stringContaining("APPLICATION_NOT_FOUND") });
    expect((await continuo("webhooks", "list")).value).toEqual([]);

    const { id, secret } = await add(url, "--application", app, "--allow-private");
    const { value: listed } = await continuo("webhooks", "list");
    expect(listed).toMatchObject([{ id, url, applicationId: app, disabledAt: null }]);
    expect(JSON.stringify(listed)).not.toContain(secret);

    expect(await continuo("webhooks", "test", id, "--allow-private")).toMatchObject({
      code: 0,
      value: { status: 204 },
    });
    const [message] = receiver.received;
    const signed = Object.fromEntries(
      ["webhook-id", "webhook-timestamp", "webhook-signature"].map((each) => [each, String(message?.headers[each])]),
    );
    expect(new Verifier(secret).verify(message?.body ?? "", signed)).toMatchObject({ type: "webhook.test" });
    receiver.answer = (response) => void response.writeHead(500).end();
    expect(await continuo("webhooks", "test", id, "--allow-private")).toMatchObject({
      code: 1,
      value: { status: 500 },
    });
    expect(await continuo("webhooks", "test", id)).toMatchObject({ code: 1, value: { fault: "ADDRESS_REFUSED" } });
    expect(receiver.received).toHaveLength(2);

    expect(await continuo("webhooks", "disable", id)).toMatchObject({ code: 3 });
    expect(await continuo("webhooks", "disable", id, "--dry-run")).toMatchObject({
      code: 0,
      value: { disabled: false },
    });
    expect(await continuo("webhooks", "disable", id, "--yes")).toMatchObject({ code: 0, value: { disabled: true } });
    expect(await continuo("webhooks", "disable", id, "--yes")).toMatchObject({
      code: 1,
      said: expect.stringContaining("WEBHOOK_NOT_FOUND"),
    });
    for (const command of ["rotate-secret", "disable", "test"]) {
      expect(await continuo("webhooks", command, id, "--dry-run")).toMatchObject({
        code: 1,
        said: expect.stringContaining("WEBHOOK_NOT_FOUND"),
      });
    }
    for (const none of [id, newId()]) {
      expect(await continuo("webhooks", "rotate-secret", none, "--yes")).toMatchObject({
        code: 1,
        said: expect.stringContaining("WEBHOOK_NOT_FOUND"),
      });
      expect(await continuo("webhooks", "test", none, "--allow-private")).toMatchObject({
        code: 1,
        said: expect.stringContaining("WEBHOOK_NOT_FOUND"),
      });
    }
    expect(receiver.received).toHaveLength(2);
  });

  it("replaces a webhook's secret without a gap: each receiver verifies, with the former or the new one, until that is over", async () => {
    await using receiver = await startReceiver();
    const app = await deliveries.application();
    const { id, secret: former } = await add(`${receiver.url}/hook`, "--application", app, "--allow-private");
    const rotated = await continuo("webhooks", "rotate-secret", id, "--overlap-hours", "2");
    const { secret } = Added.parse(rotated.value);
    const formerUntil = new Date(deliveries.system.clock.now.getTime() + 2 * 3_600_000).toISOString();
    expect(rotated.value).toMatchObject({ formerUntil });
    expect(secret).not.toBe(former);
    expect(await continuo("webhooks", "rotate-secret", newId())).toMatchObject({
      code: 1,
      said: expect.stringContaining("WEBHOOK_NOT_FOUND"),
    });
    expect((await continuo("webhooks", "rotate-secret", id, "--overlap-hours", "0")).code).toBe(2);

    /** Which of the two verify the message that came last. */
    const verifying = (): string[] => {
      const message = receiver.received.at(-1);
      const signed = Object.fromEntries(
        ["webhook-id", "webhook-timestamp", "webhook-signature"].map((each) => [each, String(message?.headers[each])]),
      );
      return [former, secret].filter((each) => {
        try {
          return Boolean(new Verifier(each).verify(message?.body ?? "", signed));
        } catch {
          return false;
        }
      });
    };
    await continuo("webhooks", "test", id, "--allow-private");
    expect(verifying()).toEqual([former, secret]);
    await using _ = await deliveries.work([]);
    await deliveries.signInAndOut(app);
    await deliveries.delivered(`webhook:${id}`);
    expect(verifying()).toEqual([former, secret]);

    await deliveries.system.admin.query("UPDATE session.webhooks SET former_until = now() WHERE id = $1", [id]);
    await continuo("webhooks", "test", id, "--allow-private");
    expect(verifying()).toEqual([secret]);
  });

  it("sees what is not delivered, and has it tried again", async () => {
    await using receiver = await startReceiver();
    receiver.answer = (response) => void response.writeHead(503).end();
    const app = await deliveries.application(`${receiver.url}/out`);
    const { id } = await add(`${receiver.url}/hook`, "--application", app, "--allow-private");
    const { sessionId } = await deliveries.signInAndOut(app);
    const recipients = [`logout:${sessionId}`, `webhook:${id}`];
    await using _ = await deliveries.work([]);
    const failed = async (): Promise<unknown> => (await continuo("outbox", "list", "--failed")).value;
    await expect
      .poll(failed, { timeout: 60_000 })
      .toMatchObject(recipients.map((recipient) => ({ recipient, attempts: 1, lastError: "HTTP_503", dueAt: null })));
    for (const which of [[], ["--all", "--seq", "1"], ["--all", "--recipient", `webhook:${id}`]])
      expect((await continuo("outbox", "retry", ...which)).code).toBe(2);
    const dry = async (...which: string[]): Promise<unknown> =>
      (await continuo("outbox", "retry", ...which, "--dry-run")).value;
    expect(await dry("--all")).toEqual({ retried: 2, dryRun: true });
    const [{ seq } = { seq: 0 }] = z.array(z.object({ seq: z.number() })).parse(await failed());
    expect([await dry("--seq", `${seq}`), await dry("--seq", `${seq + 1}`)]).toMatchObject([
      { retried: 2 },
      { retried: 0 },
    ]);

    receiver.answer = (response) => void response.writeHead(200).end();
    expect((await continuo("outbox", "retry", "--recipient", `logout:${sessionId}`)).value).toMatchObject({
      retried: 1,
    });
    await deliveries.delivered(`logout:${sessionId}`);
    expect(await failed()).toMatchObject([{ recipient: `webhook:${id}` }]);

    await deliveries.signInAndOut(app);
    const toWebhook = (): Promise<unknown> => deliveries.deliveryTo(`webhook:${id}`);
    await expect.poll(toWebhook).toMatchObject([{ failed: true }, { delivered: true }]);
    expect(await continuo("webhooks", "disable", id, "--yes")).toMatchObject({ code: 0 });
    expect(await failed()).toEqual([]);
    expect(await toWebhook()).toMatchObject([{ delivered: true }]);
    expect((await continuo("outbox", "retry", "--all")).value).toMatchObject({ retried: 0 });
  });

  it("is shown the few that are not delivered without all the others being looked at", async () => {
    const { admin } = deliveries.system;
    const { sessionId } = await deliveries.signInAndOut(await deliveries.application());
    await admin.query(
      `INSERT INTO session.revocation_deliveries (seq, recipient, delivered_at)
       SELECT r.seq, 'logout:' || gen_random_uuid(), now() FROM session.revocations AS r, generate_series(1, 20000)
        WHERE $1 = ANY (r.session_ids)`,
      [sessionId],
    );
    await admin.query("ANALYZE session.revocation_deliveries");
    const { indexes, scanned } = await costOf(admin, { text: LIST, values: [null, null, true, 100] }, "EACH_TIME");
    expect(indexes).toEqual(
      expect.arrayContaining(["revocation_deliveries_failed_idx", "revocation_deliveries_due_idx"]),
    );
    expect(scanned).toEqual([]);
  });
});
