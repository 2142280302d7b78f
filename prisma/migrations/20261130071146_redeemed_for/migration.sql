-- AlterTable
ALTER TABLE "session"."redeemed_grants" ADD COLUMN     "grant_id" UUID;
