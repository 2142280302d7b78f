/** Webhooks: addresses, managed by operators, that are notified of ended sessions, of one application or of all. */
import { AppError } from "@continuo/errors";
import { z } from "zod";
import { faultOfAddress } from "../delivery/address.ts";
import type { PostResult } from "../delivery/post.ts";
import { applicationNotFound } from "../policy/policy.ts";
import type { Seal } from "../master-key/seal.ts";
import { createWebhookSecret, signMessage, type WebhookEvent } from "./webhook-message.ts";

/** The seal's purpose for webhook secrets. */
export const WEBHOOK_SEAL = "continuo webhook seal 1";

const HOUR_MS = 3_600_000;

/** A row of `webhooks`, without its secrets. */
export const Webhook = z.object({
  id: z.uuid(),
  applicationId: z.string().nullable(),
  url: z.string(),
  createdAt: z.date(),
  disabledAt: z.date().nullable(),
});
export type Webhook = z.infer<typeof Webhook>;

export interface WebhookStore {
  /** False when there is no such application. */
  add(webhook: Webhook, sealedSecret: Buffer): Promise<boolean>;
  hasApplication(applicationId: string): Promise<boolean>;
  /** Oldest first. */
  list(): Promise<Webhook[]>;
  /** The former secret also signs until `formerUntil`. False when the webhook does not exist or is disabled. */
  replaceSecret(id: string, sealedSecret: Buffer, formerUntil: Date): Promise<boolean>;
  /** Also deletes its undelivered notices. False when the webhook does not exist or is disabled. */
  disable(id: string, now: Date): Promise<boolean>;
  find(id: string): Promise<{ url: string; sealedSecrets: readonly Uint8Array[] } | undefined>;
}

/** The message for one webhook. Throws when no master key opens its secret. */
export function messageToWebhook(options: {
  seal: Pick<Seal, "open">;
  webhook: { readonly id: string; readonly sealedSecrets: readonly Uint8Array[] };
  id: string;
  event: WebhookEvent;
  now: Date;
}): ReturnType<typeof signMessage> {
  const { seal, webhook, ...message } = options;
  const secrets = webhook.sealedSecrets.map((sealed) => {
    const secret = seal.open(sealed, webhook.id);
    if (secret === undefined) throw new Error(`MASTER_KEY does not open the secret of the webhook ${webhook.id}`);
    return secret;
  });
  return signMessage({ secrets, ...message });
}

/** Wires the operator's use cases. */
export function createWebhooks(options: {
  store: WebhookStore;
  seal: Seal;
  send: (url: string, message: ReturnType<typeof signMessage>) => Promise<PostResult>;
  allowPrivate: boolean;
  createId: () => string;
  randomBytes: (count: number) => Buffer;
  now: () => Date;
}): {
  /** Throws as `add` would. */
  tryAdd(webhook: { url: string; applicationId: string | null }): Promise<void>;
  /**
   * Returns the secret, which is never shown again. Throws BAD_USER_INPUT/WEBHOOK_URL_INVALID,
   * NOT_FOUND/APPLICATION_NOT_FOUND.
   */
  add(webhook: { url: string; applicationId: string | null }): Promise<{ webhook: Webhook; secret: string }>;
  list(): Promise<Webhook[]>;
  /**
   * Returns a new secret, which is never shown again. For `overlapHours`, messages are signed with both the new and the
   * former secret; any older one is dropped at once. Throws NOT_FOUND/WEBHOOK_NOT_FOUND.
   */
  rotateSecret(id: string, overlapHours: number): Promise<{ secret: string; formerUntil: Date }>;
  /** Throws NOT_FOUND/WEBHOOK_NOT_FOUND when the webhook does not exist or is disabled. */
  assertEnabled(id: string): Promise<void>;
  /** Throws NOT_FOUND/WEBHOOK_NOT_FOUND. */
  disable(id: string): Promise<void>;
  /** Sends one `webhook.test` event, without retries. Throws NOT_FOUND/WEBHOOK_NOT_FOUND. */
  test(id: string): Promise<PostResult>;
} {
  const { store, seal, send, allowPrivate, createId, randomBytes, now } = options;
  const notFound = (): AppError => new AppError("NOT_FOUND", "WEBHOOK_NOT_FOUND", "There is no such enabled webhook.");

  function check(url: string): void {
    const fault = faultOfAddress(url, allowPrivate);
    if (fault === undefined) return;
    throw new AppError("BAD_USER_INPUT", "WEBHOOK_URL_INVALID", `A webhook cannot go there: ${fault}.`);
  }

  async function find(id: string): Promise<{ url: string; sealedSecrets: readonly Uint8Array[] }> {
    const found = await store.find(id);
    if (found === undefined) throw notFound();
    return found;
  }

  return {
    async tryAdd({ url, applicationId }) {
      check(url);
      if (applicationId !== null && !(await store.hasApplication(applicationId))) throw applicationNotFound();
    },

    async add({ url, applicationId }) {
      check(url);
      const webhook: Webhook = { id: createId(), applicationId, url, createdAt: now(), disabledAt: null };
      const { secret, text } = createWebhookSecret(randomBytes);
      if (!(await store.add(webhook, seal.close(secret, webhook.id)))) throw applicationNotFound();
      return { webhook, secret: text };
    },

    list: () => store.list(),

    async rotateSecret(id, overlapHours) {
      const { secret, text } = createWebhookSecret(randomBytes);
      const formerUntil = new Date(now().getTime() + overlapHours * HOUR_MS);
      if (!(await store.replaceSecret(id, seal.close(secret, id), formerUntil))) throw notFound();
      return { secret: text, formerUntil };
    },

    async assertEnabled(id) {
      await find(id);
    },

    async disable(id) {
      if (!(await store.disable(id, now()))) throw notFound();
    },

    async test(id) {
      const { url, sealedSecrets } = await find(id);
      const at = now();
      const event: WebhookEvent = { type: "webhook.test", timestamp: at.toISOString(), data: {} };
      const webhook = { id, sealedSecrets };
      return send(url, messageToWebhook({ seal, webhook, id: createId(), event, now: at }));
    },
  };
}
