-- A number that expired counts for nothing: none that comes later is held against it.
UPDATE "user_state"."state_entries" SET "bytes" = 0 WHERE "deleted" AND "kind" IN ('MAX', 'MIN', 'COUNTER');

UPDATE "user_state"."user_heads" AS head
   SET "usage" = (
     SELECT coalesce(jsonb_object_agg(kept.key, kept.value || jsonb_build_object('stored', (
       SELECT coalesce(sum("bytes"), 0) FROM "user_state"."state_entries" WHERE "user_id" = head."user_id" AND "namespace" = kept.key
     ))), '{}')
     FROM jsonb_each(head."usage") AS kept
   );
