-- AlterTable
ALTER TABLE "session"."revocation_deliveries" ADD COLUMN     "due_at" TIMESTAMPTZ(3);

-- AlterTable
ALTER TABLE "session"."revocations" ADD COLUMN     "told_at" TIMESTAMPTZ(3);

-- What was there before: entries have been told, deliveries under way are due, webhooks that are disabled are owed nothing.
UPDATE "session"."revocations" SET "told_at" = "at" WHERE "user_id" IS NOT NULL;
DELETE FROM "session"."revocation_deliveries" AS d USING "session"."webhooks" AS w
 WHERE d."recipient" = 'webhook:' || w."id" AND w."disabled_at" IS NOT NULL AND d."delivered_at" IS NULL;
UPDATE "session"."revocation_deliveries" SET "failed_at" = NULL WHERE "delivered_at" IS NOT NULL AND "failed_at" IS NOT NULL;
UPDATE "session"."revocation_deliveries" SET "due_at" = now() WHERE "delivered_at" IS NULL AND "failed_at" IS NULL;

ALTER TABLE "session"."revocation_deliveries" ADD CONSTRAINT "revocation_deliveries_one_check"
  CHECK (num_nonnulls("delivered_at", "due_at", "failed_at") = 1);
CREATE INDEX "revocation_deliveries_due_idx" ON "session"."revocation_deliveries" ("due_at") WHERE "due_at" IS NOT NULL;
CREATE INDEX "revocations_untold_idx" ON "session"."revocations" ("at") WHERE "told_at" IS NULL AND "user_id" IS NOT NULL;
