/**
 * The message for each recipient of a log entry. A webhook message keeps its id over all attempts; a logout token never
 * does.
 */
import type { Seal } from "../master-key/seal.ts";
import { messageToWebhook } from "../webhook/webhook.ts";
import type { WebhookEvent } from "../webhook/webhook-message.ts";
import type { Address, Message, Notice } from "./delivery.ts";
import type { LogoutTokenSigner } from "./logout-token.ts";

/** The webhook event of a log entry. */
function eventOf({ restored, userId, reason, at, seq, sessions }: Notice): WebhookEvent {
  return {
    type: restored ? "session.restored" : "session.ended",
    timestamp: at.toISOString(),
    data: {
      seq,
      sub: userId,
      reason,
      at: at.toISOString(),
      sessions: sessions.map(({ id, deviceId, applicationId }) => ({
        sid: id,
        did: deviceId,
        client_id: applicationId,
      })),
    },
  };
}

/** Builds the messages. Throws when no master key opens a webhook's secret or the signing key. */
export function createMessages(options: {
  seal: Pick<Seal, "open">;
  logoutTokens: LogoutTokenSigner;
}): (notice: Notice, address: Address, now: Date) => Promise<Message> {
  const { seal, logoutTokens } = options;
  return async (notice, address, now) => {
    if (address.kind === "WEBHOOK") {
      const id = `msg_${notice.seq}_${address.id}`;
      return messageToWebhook({ seal, webhook: address, id, event: eventOf(notice), now });
    }
    const token = await logoutTokens.sign({ ...address.session, userId: notice.userId }, now);
    return {
      headers: { "content-type": "application/x-www-form-urlencoded" },
      body: new URLSearchParams({ logout_token: token }).toString(),
    };
  };
}
