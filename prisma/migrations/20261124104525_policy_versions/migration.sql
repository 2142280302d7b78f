-- What the schema files state as CHECK and partial index, which Prisma cannot write.
ALTER TABLE "session"."policies"
    DROP CONSTRAINT "policies_durations_check",
    ADD CONSTRAINT "policies_durations_check" CHECK (
        "idle_seconds" > 0 AND "idle_seconds" <= "absolute_seconds" AND "step_up_seconds" > 0 AND "max_sessions" > 0
        AND "access_token_seconds" BETWEEN 60 AND 900
    );
CREATE UNIQUE INDEX "policies_active_key" ON "session"."policies" ("application_id") WHERE "state" = 'ACTIVE';
CREATE UNIQUE INDEX "policies_draft_key" ON "session"."policies" ("application_id") WHERE "state" = 'DRAFT';

-- Finds the sessions that an older version governs still, and all of an application, without reading any other row.
DROP INDEX "session"."sessions_application_idx";
CREATE INDEX "sessions_application_idx" ON "session"."sessions" ("application_id", "policy_version", "user_id") WHERE "state" = 'ACTIVE';
