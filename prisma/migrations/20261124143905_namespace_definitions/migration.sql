-- AlterTable
ALTER TABLE "user_state"."namespaces" DROP CONSTRAINT "namespaces_pkey",
ADD COLUMN     "lens" JSONB NOT NULL DEFAULT '[]',
ADD COLUMN     "min_client_version" INTEGER NOT NULL DEFAULT 1,
ADD COLUMN     "policy" JSONB NOT NULL DEFAULT '{"resume": "LATEST_INTENT"}',
ADD COLUMN     "quota_bytes" BIGINT NOT NULL DEFAULT 5242880,
ADD COLUMN     "quota_entries" INTEGER NOT NULL DEFAULT 5000,
ADD COLUMN     "revision" INTEGER NOT NULL DEFAULT 1,
ADD COLUMN     "ttl_seconds" INTEGER,
ADD CONSTRAINT "namespaces_pkey" PRIMARY KEY ("name", "version", "revision");

ALTER TABLE "user_state"."namespaces"
    ADD CONSTRAINT "namespaces_ttl_check" CHECK (("persistence" = 'TTL') = ("ttl_seconds" IS NOT NULL)),
    ADD CONSTRAINT "namespaces_quota_check" CHECK ("quota_bytes" > 0 AND "quota_entries" > 0),
    ADD CONSTRAINT "namespaces_min_client_version_check" CHECK ("min_client_version" BETWEEN 1 AND "version");
