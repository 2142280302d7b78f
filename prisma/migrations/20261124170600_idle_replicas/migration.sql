-- The day on which a replica was last seen: it changes once a day, so that a push, which tells the time, leaves its index alone.
ALTER TABLE "user_state"."sync_clients"
  ADD COLUMN "seen_on" DATE GENERATED ALWAYS AS (("seen_at" AT TIME ZONE 'UTC')::date) STORED;

CREATE INDEX "sync_clients_seen_on_idx" ON "user_state"."sync_clients"("seen_on");
