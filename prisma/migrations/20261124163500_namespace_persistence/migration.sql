-- What expires next, of a user: every push asks for it.
CREATE INDEX "state_entries_expires_idx" ON "user_state"."state_entries" ("user_id", "expires_at") WHERE "expires_at" IS NOT NULL;

-- Nothing of a namespace that is not stored becomes a row, whoever tries. A trigger before it is written: neither table
-- nor write-ahead log ever has it, and unlike that of a CHECK its error names no values.
CREATE FUNCTION "user_state"."refuse_what_is_not_stored"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (
    SELECT FROM "user_state"."namespaces" WHERE "name" = NEW."namespace" AND "persistence" IN ('RELAY', 'NONE')
  ) THEN
    RAISE EXCEPTION 'the namespace % is not stored', NEW."namespace"
      USING ERRCODE = 'check_violation', CONSTRAINT = 'state_entries_stored_check';
  END IF;
  RETURN NEW;
END
$$;
CREATE TRIGGER "state_entries_stored" BEFORE INSERT OR UPDATE OF "namespace" ON "user_state"."state_entries"
  FOR EACH ROW EXECUTE FUNCTION "user_state"."refuse_what_is_not_stored"();
