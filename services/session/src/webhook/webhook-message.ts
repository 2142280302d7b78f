/**
 * What a webhook is sent, in the manner of Standard Webhooks 1.0: `webhook-id` stays the same over all attempts, the
 * timestamp and the signature are each attempt's own.
 */
import { createHmac } from "node:crypto";

const SECRET_PREFIX = "whsec_";
const SECRET_BYTES = 32;

/** A new secret, and how its owner writes it down. */
export function createWebhookSecret(randomBytes: (count: number) => Buffer): { secret: Buffer; text: string } {
  const secret = randomBytes(SECRET_BYTES);
  return { secret, text: SECRET_PREFIX + secret.toString("base64") };
}

/** An event as it is sent. */
export interface WebhookEvent {
  readonly type: "session.ended" | "session.restored" | "webhook.test";
  /** When it happened. */
  readonly timestamp: string;
  readonly data: unknown;
}

/**
 * The signed message: HMAC-SHA256 over `id.timestamp.body`, one signature for each secret (a receiver knows one of them
 * while they are being replaced). `id` has no dot.
 */
export function signMessage(options: { secrets: readonly Buffer[]; id: string; event: WebhookEvent; now: Date }): {
  headers: Record<string, string>;
  body: string;
} {
  const { secrets, id, event, now } = options;
  const body = JSON.stringify(event);
  const timestamp = Math.floor(now.getTime() / 1_000);
  const signatures = secrets.map(
    (secret) => `v1,${createHmac("sha256", secret).update(`${id}.${timestamp}.${body}`).digest("base64")}`,
  );
  return {
    headers: {
      "content-type": "application/json",
      "webhook-id": id,
      "webhook-timestamp": String(timestamp),
      "webhook-signature": signatures.join(" "),
    },
    body,
  };
}
