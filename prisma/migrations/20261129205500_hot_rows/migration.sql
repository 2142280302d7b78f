-- Rows that change often find room for their next version on the same page, and then no index is written.
ALTER TABLE "session"."user_heads" SET (fillfactor = 70);
ALTER TABLE "session"."grants" SET (fillfactor = 70);
ALTER TABLE "session"."auth_chains" SET (fillfactor = 70);

-- What nearly every row lacks is not worth an entry.
DROP INDEX "session"."sessions_parent_id_idx";
CREATE INDEX "sessions_parent_id_idx" ON "session"."sessions" ("parent_id") WHERE "parent_id" IS NOT NULL;
DROP INDEX "session"."revocations_restores_key";
CREATE UNIQUE INDEX "revocations_restores_key" ON "session"."revocations" ("restores") WHERE "restores" IS NOT NULL;

-- As before, with one new version of the chain's row for each event instead of two.
CREATE OR REPLACE FUNCTION "session"."chain_auth_event"() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    previous bytea;
BEGIN
    SELECT c.seq + 1, c.hash INTO NEW.seq, previous FROM session.auth_chains AS c WHERE c.user_id = NEW.user_id FOR UPDATE;
    IF NOT FOUND THEN
        -- Whoever comes second waits here for the first, and goes on from there.
        INSERT INTO session.auth_chains AS c (user_id, seq, hash, oldest_at) VALUES (NEW.user_id, 1, decode(repeat('00', 32), 'hex'), NEW.at)
            ON CONFLICT (user_id) DO UPDATE SET seq = c.seq + 1
        RETURNING c.seq, c.hash INTO NEW.seq, previous;
    END IF;
    NEW.record := json_build_object(
        'userId', NEW.user_id,
        'seq', NEW.seq,
        'at', to_char(NEW.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
        'type', NEW.type,
        'sessionId', NEW.session_id,
        'deviceId', NEW.device_id,
        'actorId', NEW.actor_id,
        'detail', NEW.detail)::text;
    NEW.hash := sha256(previous || convert_to(NEW.record, 'UTF8'));
    UPDATE session.auth_chains AS c SET seq = NEW.seq, hash = NEW.hash, oldest_at = coalesce(c.oldest_at, NEW.at)
     WHERE c.user_id = NEW.user_id;
    RETURN NEW;
END
$$;
