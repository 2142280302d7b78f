-- AlterTable
ALTER TABLE "session"."outbox" ADD COLUMN     "due_at" TIMESTAMPTZ(3);
