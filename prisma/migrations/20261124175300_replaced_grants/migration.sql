-- The log also says which grant a step-up has replaced.
ALTER TABLE "session"."revocations"
    DROP CONSTRAINT "revocations_kind_check",
    ADD CONSTRAINT "revocations_kind_check" CHECK ("kind" IN ('SESSION', 'LINEAGE', 'DEVICE', 'USER', 'APPLICATION', 'FILTER', 'GRANT'));
