-- Neither written nor read, in any release.
ALTER TABLE "session"."devices" DROP COLUMN "trust";
