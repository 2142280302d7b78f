-- The job has another name; what waits for it goes on.
UPDATE "identity"."outbox" SET "topic" = 'apply-user-events' WHERE "topic" = 'end-user-sessions' AND "enqueued_at" IS NULL;
