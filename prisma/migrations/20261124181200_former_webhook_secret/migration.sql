-- A secret is replaced without a gap: until then, messages are signed with both.
ALTER TABLE "session"."webhooks"
    ADD COLUMN "former_sealed_secret" BYTEA,
    ADD COLUMN "former_until" TIMESTAMPTZ(3),
    ADD CONSTRAINT "webhooks_former_check" CHECK (("former_sealed_secret" IS NULL) = ("former_until" IS NULL));
