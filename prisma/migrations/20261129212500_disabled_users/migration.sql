-- Users can be disabled and deleted: identity says so by events, and what it vouched for before is void (`epoch`).
ALTER TABLE "identity"."users" ADD COLUMN     "epoch" INTEGER NOT NULL DEFAULT 0;

CREATE TABLE "identity"."outbox" (
    "id" UUID NOT NULL,
    "topic" TEXT NOT NULL,
    "payload" JSONB NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "enqueued_at" TIMESTAMPTZ(3),
    "due_at" TIMESTAMPTZ(3),

    CONSTRAINT "outbox_pkey" PRIMARY KEY ("id")
);
CREATE INDEX "outbox_waiting_idx" ON "identity"."outbox" ("created_at") WHERE "enqueued_at" IS NULL;

ALTER TABLE "session"."user_heads" ADD COLUMN     "sign_in_epoch" INTEGER NOT NULL DEFAULT 0;
ALTER TABLE "session"."sessions" ADD COLUMN     "sign_in_epoch" INTEGER NOT NULL DEFAULT 0;
