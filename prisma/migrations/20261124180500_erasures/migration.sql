-- What was erased stays erased: whoever had not heard of it when they made a change comes too late.
ALTER TABLE "user_state"."user_heads"
  ADD COLUMN "erased" JSONB NOT NULL DEFAULT '{}',
  ADD COLUMN "activities_erased_rev" BIGINT NOT NULL DEFAULT 0;
