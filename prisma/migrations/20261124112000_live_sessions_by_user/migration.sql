-- A person's live sessions, however many ended ones the row's history has: every sign-in, sign-out and list asks for them.
CREATE INDEX "sessions_live_idx" ON "session"."sessions" ("user_id") WHERE "state" = 'ACTIVE';
CREATE INDEX "sessions_live_on_device_idx" ON "session"."sessions" ("device_id") WHERE "state" = 'ACTIVE';
