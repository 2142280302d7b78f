-- AlterTable
ALTER TABLE "user_state"."sync_clients" ADD COLUMN     "pending" INTEGER;

-- AlterTable
ALTER TABLE "user_state"."user_heads" ADD COLUMN     "activity_rev" BIGINT NOT NULL DEFAULT 0;

-- CreateTable
CREATE TABLE "user_state"."activities" (
    "user_id" UUID NOT NULL,
    "id" UUID NOT NULL,
    "device_id" UUID NOT NULL,
    "namespace" TEXT NOT NULL,
    "key" TEXT NOT NULL,
    "field" TEXT NOT NULL,
    "kind" TEXT NOT NULL,
    "title" TEXT NOT NULL,
    "uris" JSONB NOT NULL,
    "stamp_ms" BIGINT NOT NULL,
    "stamp_counter" INTEGER NOT NULL,
    "at" TIMESTAMPTZ(3) NOT NULL,
    "expires_at" TIMESTAMPTZ(3) NOT NULL,
    "ended_at" TIMESTAMPTZ(3),
    "rev" BIGINT NOT NULL,
    "fence" INTEGER,
    "lease_until" TIMESTAMPTZ(3),
    "flush_fence" INTEGER,
    "flush_until" TIMESTAMPTZ(3),
    "flushed_at" TIMESTAMPTZ(3),

    CONSTRAINT "activities_pkey" PRIMARY KEY ("user_id","id")
);

-- CreateIndex
CREATE INDEX "activities_user_id_rev_idx" ON "user_state"."activities"("user_id", "rev");

-- CreateIndex
CREATE INDEX "activities_expires_at_idx" ON "user_state"."activities"("expires_at");

-- CreateIndex
CREATE UNIQUE INDEX "activities_user_id_namespace_key_field_device_id_key" ON "user_state"."activities"("user_id", "namespace", "key", "field", "device_id");

ALTER TABLE "user_state"."activities"
    ADD CONSTRAINT "activities_fence_check" CHECK ("fence" > 0 AND ("fence" IS NULL) = ("lease_until" IS NULL)),
    ADD CONSTRAINT "activities_flush_check" CHECK (("flush_fence" IS NULL) = ("flush_until" IS NULL));
