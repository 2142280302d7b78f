-- Confidential clients may authenticate by keys instead of a secret.
ALTER TABLE "session"."applications"
    ADD COLUMN     "jwks" JSONB,
    DROP CONSTRAINT "applications_introspect_check",
    ADD CONSTRAINT "applications_authentication_check" CHECK (num_nonnulls("secret_hash", "jwks") <= 1),
    ADD CONSTRAINT "applications_introspect_check" CHECK (NOT "may_introspect" OR num_nonnulls("secret_hash", "jwks") = 1);

CREATE TABLE "session"."used_client_assertions" (
    "id" BYTEA NOT NULL,
    "good_until" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "used_client_assertions_pkey" PRIMARY KEY ("id")
);
CREATE INDEX "used_client_assertions_good_until_idx" ON "session"."used_client_assertions"("good_until");
