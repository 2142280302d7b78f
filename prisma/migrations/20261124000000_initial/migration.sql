-- CreateSchema
CREATE SCHEMA IF NOT EXISTS "identity";

-- CreateTable
CREATE TABLE "identity"."users" (
    "id" UUID NOT NULL,
    "email" TEXT NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL,
    "disabled_at" TIMESTAMPTZ(3),

    CONSTRAINT "users_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "identity"."authenticators" (
    "id" UUID NOT NULL,
    "user_id" UUID NOT NULL,
    "kind" TEXT NOT NULL,
    "secret" TEXT NOT NULL,
    "failures" INTEGER NOT NULL DEFAULT 0,
    "created_at" TIMESTAMPTZ(3) NOT NULL,
    "last_used_at" TIMESTAMPTZ(3),
    "revoked_at" TIMESTAMPTZ(3),

    CONSTRAINT "authenticators_pkey" PRIMARY KEY ("id")
);

-- CreateIndex
CREATE UNIQUE INDEX "users_email_key" ON "identity"."users"("email");

-- CreateIndex
CREATE INDEX "authenticators_user_id_idx" ON "identity"."authenticators"("user_id");

-- AddForeignKey
ALTER TABLE "identity"."authenticators" ADD CONSTRAINT "authenticators_user_id_fkey" FOREIGN KEY ("user_id") REFERENCES "identity"."users"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- CreateSchema
CREATE SCHEMA IF NOT EXISTS "session";

-- CreateTable
CREATE TABLE "session"."user_heads" (
    "user_id" UUID NOT NULL,
    "epoch" INTEGER NOT NULL DEFAULT 0,
    "device_rev" BIGINT NOT NULL DEFAULT 0,

    CONSTRAINT "user_heads_pkey" PRIMARY KEY ("user_id")
);

-- CreateTable
CREATE TABLE "session"."devices" (
    "id" UUID NOT NULL,
    "user_id" UUID NOT NULL,
    "jkt" TEXT,
    "name" TEXT,
    "detected_name" TEXT NOT NULL,
    "platform" TEXT NOT NULL,
    "trust" SMALLINT NOT NULL DEFAULT 0,
    "first_seen_at" TIMESTAMPTZ(3) NOT NULL,
    "last_seen_at" TIMESTAMPTZ(3) NOT NULL,
    "revoked_at" TIMESTAMPTZ(3),
    "rev" BIGINT NOT NULL,

    CONSTRAINT "devices_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "session"."applications" (
    "id" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "applications_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "session"."policies" (
    "application_id" TEXT NOT NULL,
    "version" INTEGER NOT NULL,
    "state" TEXT NOT NULL,
    "idle_seconds" INTEGER NOT NULL,
    "absolute_seconds" INTEGER NOT NULL,
    "access_token_seconds" INTEGER NOT NULL,
    "device_binding" TEXT NOT NULL,
    "max_sessions" INTEGER NOT NULL,
    "at_limit" TEXT NOT NULL,
    "required_acr" TEXT,
    "step_up_seconds" INTEGER NOT NULL,
    "persistence" BOOLEAN NOT NULL,
    "posture" TEXT NOT NULL,
    "activated_at" TIMESTAMPTZ(3),

    CONSTRAINT "policies_pkey" PRIMARY KEY ("application_id","version")
);

-- CreateTable
CREATE TABLE "session"."sessions" (
    "id" UUID NOT NULL,
    "user_id" UUID NOT NULL,
    "device_id" UUID NOT NULL,
    "application_id" TEXT NOT NULL,
    "parent_id" UUID,
    "origin" TEXT NOT NULL,
    "acr" TEXT NOT NULL,
    "amr" TEXT[],
    "auth_time" TIMESTAMPTZ(3) NOT NULL,
    "policy_version" INTEGER NOT NULL,
    "idle_seconds" INTEGER NOT NULL,
    "started_at" TIMESTAMPTZ(3) NOT NULL,
    "idle_deadline" TIMESTAMPTZ(3) NOT NULL,
    "absolute_deadline" TIMESTAMPTZ(3) NOT NULL,
    "last_active_at" TIMESTAMPTZ(3) NOT NULL,
    "ip_prefix" TEXT,
    "country" TEXT,
    "state" TEXT NOT NULL DEFAULT 'ACTIVE',
    "ended_at" TIMESTAMPTZ(3),
    "end_reason" TEXT,
    "ended_by" UUID,

    CONSTRAINT "sessions_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "session"."grants" (
    "id" UUID NOT NULL,
    "session_id" UUID NOT NULL,
    "generation" INTEGER NOT NULL DEFAULT 1,
    "confirmed_generation" INTEGER NOT NULL DEFAULT 0,
    "key_id" SMALLINT NOT NULL,
    "salt" BYTEA NOT NULL,
    "rotated_at" TIMESTAMPTZ(3) NOT NULL,
    "state" TEXT NOT NULL DEFAULT 'ACTIVE',

    CONSTRAINT "grants_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "session"."redeemed_grants" (
    "jti" UUID NOT NULL,
    "expires_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "redeemed_grants_pkey" PRIMARY KEY ("jti")
);

-- CreateTable
CREATE TABLE "session"."revocation_head" (
    "id" SMALLINT NOT NULL DEFAULT 1,
    "seq" BIGINT NOT NULL DEFAULT 0,

    CONSTRAINT "revocation_head_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "session"."revocations" (
    "seq" BIGINT NOT NULL,
    "kind" TEXT NOT NULL,
    "key" TEXT NOT NULL,
    "user_id" UUID,
    "session_ids" UUID[],
    "reason" TEXT NOT NULL,
    "actor_id" UUID,
    "at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "revocations_pkey" PRIMARY KEY ("seq")
);

-- CreateTable
CREATE TABLE "session"."revocation_acks" (
    "seq" BIGINT NOT NULL,
    "replica" TEXT NOT NULL,
    "at" TIMESTAMPTZ(3) NOT NULL,
    "sockets_closed" INTEGER NOT NULL,

    CONSTRAINT "revocation_acks_pkey" PRIMARY KEY ("seq","replica")
);

-- CreateTable
CREATE TABLE "session"."revocation_deliveries" (
    "seq" BIGINT NOT NULL,
    "recipient" TEXT NOT NULL,
    "delivered_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "revocation_deliveries_pkey" PRIMARY KEY ("seq","recipient")
);

-- CreateTable
CREATE TABLE "session"."signing_keys" (
    "kid" TEXT NOT NULL,
    "alg" TEXT NOT NULL,
    "state" TEXT NOT NULL,
    "public_jwk" JSONB NOT NULL,
    "sealed_private_key" BYTEA NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL,
    "activated_at" TIMESTAMPTZ(3),
    "retired_at" TIMESTAMPTZ(3),

    CONSTRAINT "signing_keys_pkey" PRIMARY KEY ("kid")
);

-- CreateTable
CREATE TABLE "session"."outbox" (
    "id" UUID NOT NULL,
    "topic" TEXT NOT NULL,
    "payload" JSONB NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "enqueued_at" TIMESTAMPTZ(3),

    CONSTRAINT "outbox_pkey" PRIMARY KEY ("id")
);

-- CreateIndex
CREATE INDEX "devices_user_id_rev_idx" ON "session"."devices"("user_id", "rev");

-- CreateIndex
CREATE UNIQUE INDEX "devices_user_id_jkt_key" ON "session"."devices"("user_id", "jkt");

-- CreateIndex
CREATE INDEX "sessions_user_id_idx" ON "session"."sessions"("user_id");

-- CreateIndex
CREATE INDEX "sessions_device_id_idx" ON "session"."sessions"("device_id");

-- CreateIndex
CREATE INDEX "sessions_parent_id_idx" ON "session"."sessions"("parent_id");

-- CreateIndex
CREATE INDEX "grants_session_id_idx" ON "session"."grants"("session_id");

-- CreateIndex
CREATE INDEX "redeemed_grants_expires_at_idx" ON "session"."redeemed_grants"("expires_at");

-- CreateIndex
CREATE INDEX "revocations_at_idx" ON "session"."revocations"("at");

-- AddForeignKey
ALTER TABLE "session"."policies" ADD CONSTRAINT "policies_application_id_fkey" FOREIGN KEY ("application_id") REFERENCES "session"."applications"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "session"."sessions" ADD CONSTRAINT "sessions_device_id_fkey" FOREIGN KEY ("device_id") REFERENCES "session"."devices"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "session"."sessions" ADD CONSTRAINT "sessions_application_id_fkey" FOREIGN KEY ("application_id") REFERENCES "session"."applications"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "session"."sessions" ADD CONSTRAINT "sessions_parent_id_fkey" FOREIGN KEY ("parent_id") REFERENCES "session"."sessions"("id") ON DELETE SET NULL ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "session"."grants" ADD CONSTRAINT "grants_session_id_fkey" FOREIGN KEY ("session_id") REFERENCES "session"."sessions"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "session"."revocation_acks" ADD CONSTRAINT "revocation_acks_seq_fkey" FOREIGN KEY ("seq") REFERENCES "session"."revocations"("seq") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "session"."revocation_deliveries" ADD CONSTRAINT "revocation_deliveries_seq_fkey" FOREIGN KEY ("seq") REFERENCES "session"."revocations"("seq") ON DELETE CASCADE ON UPDATE CASCADE;
-- CreateSchema
CREATE SCHEMA IF NOT EXISTS "user_state";

-- CreateTable
CREATE TABLE "user_state"."user_heads" (
    "user_id" UUID NOT NULL,
    "epoch" UUID NOT NULL,
    "rev" BIGINT NOT NULL DEFAULT 0,
    "pruned_rev" BIGINT NOT NULL DEFAULT 0,
    "clients_pruned_before" TIMESTAMPTZ(3),
    "max_ms" BIGINT NOT NULL DEFAULT 0,
    "bytes" BIGINT NOT NULL DEFAULT 0,
    "entries" INTEGER NOT NULL DEFAULT 0,

    CONSTRAINT "user_heads_pkey" PRIMARY KEY ("user_id")
);

-- CreateTable
CREATE TABLE "user_state"."namespaces" (
    "name" TEXT NOT NULL,
    "version" INTEGER NOT NULL,
    "kinds" JSONB NOT NULL,
    "schema" JSONB NOT NULL,
    "persistence" TEXT NOT NULL,
    "state" TEXT NOT NULL DEFAULT 'ACTIVE',
    "created_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "namespaces_pkey" PRIMARY KEY ("name","version")
);

-- CreateTable
CREATE TABLE "user_state"."state_entries" (
    "user_id" UUID NOT NULL,
    "namespace" TEXT NOT NULL,
    "key" TEXT NOT NULL,
    "field" TEXT NOT NULL,
    "kind" TEXT NOT NULL,
    "value" JSONB,
    "ms" BIGINT NOT NULL,
    "counter" INTEGER NOT NULL,
    "node" UUID NOT NULL,
    "rev" BIGINT NOT NULL,
    "by_client" UUID NOT NULL,
    "by_seq" BIGINT NOT NULL,
    "deleted" BOOLEAN NOT NULL DEFAULT false,
    "schema_version" INTEGER NOT NULL,
    "bytes" INTEGER NOT NULL,
    "history" JSONB,
    "expires_at" TIMESTAMPTZ(3),

    CONSTRAINT "state_entries_pkey" PRIMARY KEY ("user_id","namespace","key","field")
);

-- CreateTable
CREATE TABLE "user_state"."sync_clients" (
    "user_id" UUID NOT NULL,
    "client_id" UUID NOT NULL,
    "device_id" UUID NOT NULL,
    "last_seq" BIGINT NOT NULL DEFAULT 0,
    "acked_rev" BIGINT NOT NULL DEFAULT 0,
    "seen_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "sync_clients_pkey" PRIMARY KEY ("user_id","client_id")
);

-- CreateTable
CREATE TABLE "user_state"."op_outcomes" (
    "user_id" UUID NOT NULL,
    "client_id" UUID NOT NULL,
    "seq" BIGINT NOT NULL,
    "status" TEXT NOT NULL,
    "code" TEXT,
    "message" TEXT,
    "rev" BIGINT,
    "at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "op_outcomes_pkey" PRIMARY KEY ("user_id","client_id","seq")
);

-- CreateIndex
CREATE INDEX "state_entries_user_id_rev_idx" ON "user_state"."state_entries"("user_id", "rev");

-- CreateIndex
CREATE INDEX "sync_clients_device_id_idx" ON "user_state"."sync_clients"("device_id");

-- CreateIndex
CREATE INDEX "op_outcomes_at_idx" ON "user_state"."op_outcomes"("at");

-- What the schema files state as CHECK and partial index, which Prisma cannot write.

ALTER TABLE "identity"."authenticators"
    ADD CONSTRAINT "authenticators_kind_check" CHECK ("kind" IN ('PASSWORD', 'PASSKEY', 'TOTP', 'RECOVERY_CODE')),
    ADD CONSTRAINT "authenticators_failures_check" CHECK ("failures" >= 0);

ALTER TABLE "session"."devices"
    ADD CONSTRAINT "devices_platform_check" CHECK ("platform" IN ('PHONE', 'TABLET', 'LAPTOP', 'DESKTOP', 'TV', 'WATCH', 'OTHER')),
    ADD CONSTRAINT "devices_trust_check" CHECK ("trust" BETWEEN 0 AND 3);

ALTER TABLE "session"."policies"
    ADD CONSTRAINT "policies_state_check" CHECK ("state" IN ('DRAFT', 'ACTIVE', 'RETIRED')),
    ADD CONSTRAINT "policies_device_binding_check" CHECK ("device_binding" IN ('NONE', 'DPOP')),
    ADD CONSTRAINT "policies_at_limit_check" CHECK ("at_limit" IN ('EVICT_OLDEST', 'REFUSE')),
    ADD CONSTRAINT "policies_posture_check" CHECK ("posture" IN ('OPEN', 'STRICT', 'CLOSED')),
    ADD CONSTRAINT "policies_durations_check" CHECK (
        "idle_seconds" > 0 AND "absolute_seconds" > 0 AND "step_up_seconds" > 0
        AND "access_token_seconds" BETWEEN 1 AND 900
    );

ALTER TABLE "session"."sessions"
    ADD CONSTRAINT "sessions_state_check" CHECK ("state" IN ('ACTIVE', 'REVOKED', 'EXPIRED')),
    ADD CONSTRAINT "sessions_origin_check" CHECK ("origin" IN ('PASSWORD', 'PASSKEY', 'DEVICE_CODE', 'TRANSFER')),
    ADD CONSTRAINT "sessions_ended_check" CHECK (("state" = 'ACTIVE') = ("ended_at" IS NULL));
CREATE INDEX "sessions_deadline_idx" ON "session"."sessions" (least("idle_deadline", "absolute_deadline")) WHERE "state" = 'ACTIVE';

ALTER TABLE "session"."grants"
    ADD CONSTRAINT "grants_state_check" CHECK ("state" IN ('ACTIVE', 'REVOKED')),
    ADD CONSTRAINT "grants_generation_check" CHECK ("generation" >= 1 AND "confirmed_generation" <= "generation");

ALTER TABLE "session"."revocation_head"
    ADD CONSTRAINT "revocation_head_id_check" CHECK ("id" = 1);
INSERT INTO "session"."revocation_head" ("id", "seq") VALUES (1, 0);

ALTER TABLE "session"."revocations"
    ADD CONSTRAINT "revocations_kind_check" CHECK ("kind" IN ('SESSION', 'DEVICE', 'USER', 'APPLICATION'));

ALTER TABLE "session"."signing_keys"
    ADD CONSTRAINT "signing_keys_state_check" CHECK ("state" IN ('NEXT', 'ACTIVE', 'RETIRING', 'RETIRED'));
CREATE UNIQUE INDEX "signing_keys_active_key" ON "session"."signing_keys" ("state") WHERE "state" = 'ACTIVE';

CREATE INDEX "outbox_waiting_idx" ON "session"."outbox" ("created_at") WHERE "enqueued_at" IS NULL;

ALTER TABLE "user_state"."namespaces"
    ADD CONSTRAINT "namespaces_persistence_check" CHECK ("persistence" IN ('DURABLE', 'TTL', 'RELAY', 'NONE')),
    ADD CONSTRAINT "namespaces_state_check" CHECK ("state" IN ('ACTIVE', 'RETIRED'));
