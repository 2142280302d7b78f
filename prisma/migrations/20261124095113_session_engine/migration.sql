-- CreateSchema
CREATE SCHEMA IF NOT EXISTS "gateway";

-- CreateTable
CREATE TABLE "gateway"."used_once" (
    "key" BYTEA NOT NULL,
    "expires_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "used_once_pkey" PRIMARY KEY ("key")
);

-- CreateIndex
CREATE INDEX "used_once_expires_at_idx" ON "gateway"."used_once"("expires_at");

-- AlterTable
ALTER TABLE "session"."applications" ADD COLUMN     "backchannel_logout_uri" TEXT,
ADD COLUMN     "may_introspect" BOOLEAN NOT NULL DEFAULT false,
ADD COLUMN     "secret_hash" BYTEA;

-- AlterTable
ALTER TABLE "session"."grants" ADD COLUMN     "jkt" TEXT;

-- AlterTable
ALTER TABLE "session"."revocation_deliveries" ADD COLUMN     "attempts" INTEGER NOT NULL DEFAULT 0,
ADD COLUMN     "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
ADD COLUMN     "failed_at" TIMESTAMPTZ(3),
ADD COLUMN     "last_error" TEXT,
ALTER COLUMN "delivered_at" DROP NOT NULL;

-- AlterTable
ALTER TABLE "session"."revocations" ADD COLUMN     "restores" BIGINT;

-- AlterTable
ALTER TABLE "session"."signing_keys" ADD COLUMN     "retiring_at" TIMESTAMPTZ(3);

-- CreateTable
CREATE TABLE "session"."webhooks" (
    "id" UUID NOT NULL,
    "application_id" TEXT,
    "url" TEXT NOT NULL,
    "sealed_secret" BYTEA NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL,
    "disabled_at" TIMESTAMPTZ(3),

    CONSTRAINT "webhooks_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "session"."auth_chains" (
    "user_id" UUID NOT NULL,
    "seq" BIGINT NOT NULL,
    "hash" BYTEA NOT NULL,

    CONSTRAINT "auth_chains_pkey" PRIMARY KEY ("user_id")
);

-- CreateTable
CREATE TABLE "session"."auth_events" (
    "user_id" UUID NOT NULL,
    "seq" BIGINT NOT NULL,
    "at" TIMESTAMPTZ(3) NOT NULL,
    "type" TEXT NOT NULL,
    "session_id" UUID,
    "device_id" UUID,
    "actor_id" UUID,
    "detail" JSONB,
    "record" TEXT NOT NULL,
    "hash" BYTEA NOT NULL,

    CONSTRAINT "auth_events_pkey" PRIMARY KEY ("user_id","seq")
);

-- CreateIndex
CREATE UNIQUE INDEX "revocations_restores_key" ON "session"."revocations"("restores");

-- AddForeignKey
ALTER TABLE "session"."webhooks" ADD CONSTRAINT "webhooks_application_id_fkey" FOREIGN KEY ("application_id") REFERENCES "session"."applications"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- What the schema files state as CHECK and partial index, which Prisma cannot write.
ALTER TABLE "session"."applications"
    ADD CONSTRAINT "applications_introspect_check" CHECK (NOT "may_introspect" OR "secret_hash" IS NOT NULL);

ALTER TABLE "session"."revocations"
    DROP CONSTRAINT "revocations_kind_check",
    ADD CONSTRAINT "revocations_kind_check" CHECK ("kind" IN ('SESSION', 'LINEAGE', 'DEVICE', 'USER', 'APPLICATION', 'FILTER'));

CREATE UNIQUE INDEX "signing_keys_next_key" ON "session"."signing_keys" ("state") WHERE "state" = 'NEXT';
CREATE INDEX "revocation_deliveries_failed_idx" ON "session"."revocation_deliveries" ("failed_at") WHERE "failed_at" IS NOT NULL;
CREATE INDEX "sessions_application_idx" ON "session"."sessions" ("application_id", "id") WHERE "state" = 'ACTIVE';
CREATE INDEX "sessions_ended_idx" ON "session"."sessions" ("ended_at") WHERE "state" <> 'ACTIVE';

-- The chain of security events. The trigger runs with its owner's rights: the service's own role may only add and read.
-- A record is JSON text with its keys in this order, `at` in UTC with milliseconds; `detail` comes last.
CREATE FUNCTION "session"."chain_auth_event"() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    previous bytea;
BEGIN
    INSERT INTO session.auth_chains AS c (user_id, seq, hash) VALUES (NEW.user_id, 1, decode(repeat('00', 32), 'hex'))
        ON CONFLICT (user_id) DO UPDATE SET seq = c.seq + 1
    RETURNING c.seq, c.hash INTO NEW.seq, previous;
    NEW.record := json_build_object(
        'userId', NEW.user_id,
        'seq', NEW.seq,
        'at', to_char(NEW.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
        'type', NEW.type,
        'sessionId', NEW.session_id,
        'deviceId', NEW.device_id,
        'actorId', NEW.actor_id,
        'detail', NEW.detail)::text;
    NEW.hash := sha256(previous || convert_to(NEW.record, 'UTF8'));
    UPDATE session.auth_chains SET hash = NEW.hash WHERE user_id = NEW.user_id;
    RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION "session"."chain_auth_event"() FROM PUBLIC;
CREATE TRIGGER "chain_auth_event" BEFORE INSERT ON "session"."auth_events"
    FOR EACH ROW EXECUTE FUNCTION "session"."chain_auth_event"();

CREATE FUNCTION "session"."refuse_change"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'security events are append-only' USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER "refuse_change" BEFORE UPDATE OR DELETE OR TRUNCATE ON "session"."auth_events"
    FOR EACH STATEMENT EXECUTE FUNCTION "session"."refuse_change"();
