/**
 * The message to a webhook, as Standard Webhooks 1.0 defines it: `webhook-id` stays the same over all attempts; each
 * attempt has its own timestamp and signature.
 */
import { createHmac } from "node:crypto";

const SECRET_PREFIX = "whsec_";
const SECRET_BYTES = 32;

/** A new secret, and its text form for the receiver. */
export function createWebhookSecret(randomBytes: (count: number) => Buffer): { secret: Buffer; text: string } {
  const secret = randomBytes(SECRET_BYTES);
  return { secret, text: SECRET_PREFIX + secret.toString("base64") };
}

/** The body of a message. */
export interface WebhookEvent {
  readonly type: "session.ended" | "session.restored" | "webhook.test";
  /** When the event happened, ISO 8601. */
  readonly timestamp: string;
  readonly data: unknown;
}

/**
 * The signed message: HMAC-SHA256 over `id.timestamp.body`, with one signature per secret, as a receiver knows either
 * of them during a replacement. `id` must not contain a dot.
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
