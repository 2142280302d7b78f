import type { Pool } from "pg";
import { z } from "zod";
import { Webhook, type WebhookStore } from "./webhook.ts";

const Secrets = z.object({ url: z.string(), sealedSecrets: z.array(z.instanceof(Uint8Array)) });

/** SQL expression: the sealed secrets that sign messages to webhook `w`, newest first. */
export const sealedSecrets = (w: string): string =>
  `array_remove(ARRAY[${w}.sealed_secret, CASE WHEN ${w}.former_until > now() THEN ${w}.former_sealed_secret END], NULL)`;

/** Webhooks in Postgres. */
export function createWebhookStore(pool: Pool): WebhookStore {
  return {
    async add({ id, applicationId, url, createdAt }, sealedSecret) {
      const { rowCount } = await pool.query(
        `INSERT INTO session.webhooks (id, application_id, url, sealed_secret, created_at)
         SELECT $1, $2, $3, $4, $5
          WHERE $2::text IS NULL OR EXISTS (SELECT FROM session.applications WHERE id = $2)`,
        [id, applicationId, url, sealedSecret, createdAt],
      );
      return rowCount === 1;
    },

    async hasApplication(applicationId) {
      const { rowCount } = await pool.query("SELECT FROM session.applications WHERE id = $1", [applicationId]);
      return rowCount === 1;
    },

    async list() {
      const { rows } = await pool.query<Record<string, unknown>>(
        `SELECT id, application_id AS "applicationId", url, created_at AS "createdAt", disabled_at AS "disabledAt"
           FROM session.webhooks ORDER BY created_at, id`,
      );
      return rows.map((row) => Webhook.parse(row));
    },

    async replaceSecret(id, sealedSecret, formerUntil) {
      const { rowCount } = await pool.query(
        `UPDATE session.webhooks
            SET former_sealed_secret = sealed_secret, former_until = $3, sealed_secret = $2
          WHERE id = $1 AND disabled_at IS NULL`,
        [id, sealedSecret, formerUntil],
      );
      return rowCount === 1;
    },

    async disable(id, now) {
      const { rowCount } = await pool.query(
        `WITH disabled AS (
           UPDATE session.webhooks SET disabled_at = $2 WHERE id = $1 AND disabled_at IS NULL RETURNING id),
         dropped AS (
           DELETE FROM session.revocation_deliveries AS d USING disabled
            WHERE d.recipient = 'webhook:' || disabled.id AND d.delivered_at IS NULL)
         SELECT FROM disabled`,
        [id, now],
      );
      return rowCount === 1;
    },

    async find(id) {
      const { rows } = await pool.query<Record<string, unknown>>(
        `SELECT w.url, ${sealedSecrets("w")} AS "sealedSecrets"
           FROM session.webhooks AS w WHERE w.id = $1 AND w.disabled_at IS NULL`,
        [id],
      );
      return rows[0] && Secrets.parse(rows[0]);
    },
  };
}
