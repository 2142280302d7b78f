-- Every kind keeps its state as one JSON: what was columns of a register, or of a maximum, goes into it.

ALTER TABLE "user_state"."user_heads" ADD COLUMN     "usage" JSONB NOT NULL DEFAULT '{}';

UPDATE "user_state"."user_heads" AS head SET "usage" = counted."usage"
FROM (
    SELECT "user_id", jsonb_object_agg("namespace", jsonb_build_object('entries', "entries", 'bytes', "bytes")) AS "usage"
    FROM (
        SELECT "user_id", "namespace", count(*) AS "entries", sum("bytes") AS "bytes"
        FROM "user_state"."state_entries" WHERE NOT "deleted" GROUP BY "user_id", "namespace"
    ) AS of_namespace
    GROUP BY "user_id"
) AS counted
WHERE counted."user_id" = head."user_id";

ALTER TABLE "user_state"."state_entries"
    ADD COLUMN     "state" JSONB,
    ADD COLUMN     "removed_ms" BIGINT;

UPDATE "user_state"."state_entries" SET
    "state" = CASE "kind"
        WHEN 'MAX' THEN jsonb_build_object('standing', jsonb_build_object(
            'value', "value", 'stamp', jsonb_build_object('ms', "ms", 'counter', "counter", 'clientId', "node")))
        ELSE jsonb_build_object(
            'standing', jsonb_build_object(
                'value', coalesce("value", 'null'), 'deleted', "deleted",
                'stamp', jsonb_build_object('ms', "ms", 'counter', "counter", 'clientId', "node")),
            'history', coalesce("history", '[]'))
        END,
    "removed_ms" = CASE WHEN "deleted" THEN "ms" END;
UPDATE "user_state"."state_entries"
SET "bytes" = octet_length("state"::text) + octet_length("key") + octet_length("field");

ALTER TABLE "user_state"."state_entries"
    ALTER COLUMN "state" SET NOT NULL,
    DROP COLUMN "by_client",
    DROP COLUMN "by_seq",
    DROP COLUMN "counter",
    DROP COLUMN "history",
    DROP COLUMN "node",
    DROP COLUMN "value",
    ALTER COLUMN "deleted" DROP DEFAULT,
    ADD CONSTRAINT "state_entries_kind_check" CHECK ("kind" IN (
        'REGISTER', 'MAX', 'MIN', 'COUNTER', 'SET', 'MAP', 'LIST', 'PROGRESS', 'DRAFT', 'TEXT', 'OPAQUE'));

CREATE INDEX "state_entries_removed_idx" ON "user_state"."state_entries" ("user_id", "removed_ms") WHERE "removed_ms" IS NOT NULL;

-- CreateTable
CREATE TABLE "user_state"."text_updates" (
    "user_id" UUID NOT NULL,
    "namespace" TEXT NOT NULL,
    "key" TEXT NOT NULL,
    "field" TEXT NOT NULL,
    "rev" BIGINT NOT NULL,
    "update" TEXT NOT NULL,

    CONSTRAINT "text_updates_pkey" PRIMARY KEY ("user_id","namespace","key","field","rev")
);

-- AddForeignKey
ALTER TABLE "user_state"."text_updates" ADD CONSTRAINT "text_updates_user_id_namespace_key_field_fkey" FOREIGN KEY ("user_id", "namespace", "key", "field") REFERENCES "user_state"."state_entries"("user_id", "namespace", "key", "field") ON DELETE CASCADE ON UPDATE CASCADE;
