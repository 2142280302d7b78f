-- A change of a device moves its `rev`, with every sign-out twice: without that in an index its row finds room on the same page,
-- and no index is written. The changes of a user are looked for among the user's devices, which are few.
DROP INDEX "session"."devices_user_id_rev_idx";
ALTER TABLE "session"."devices" SET (fillfactor = 70);

-- One index in place of two: live sessions are those without an end, of a user or a device.
CREATE INDEX "sessions_user_id_ended_at_idx" ON "session"."sessions"("user_id", "ended_at");
CREATE INDEX "sessions_device_id_ended_at_idx" ON "session"."sessions"("device_id", "ended_at");
DROP INDEX "session"."sessions_user_id_idx";
DROP INDEX "session"."sessions_device_id_idx";
DROP INDEX "session"."sessions_live_idx";
DROP INDEX "session"."sessions_live_on_device_idx";
