-- Which devices were told of a revocation is said by its own row, which is written then anyhow.
ALTER TABLE "session"."revocations" ADD COLUMN     "told_devices" UUID[];
UPDATE "session"."revocations" AS r SET "told_devices" = ARRAY(
    SELECT substr(d."recipient", 8)::uuid FROM "session"."revocation_deliveries" AS d
     WHERE d."seq" = r."seq" AND d."recipient" LIKE 'device:%')
 WHERE r."told_at" IS NOT NULL;
DELETE FROM "session"."revocation_deliveries" WHERE "recipient" LIKE 'device:%';

-- As before, with one statement for each event instead of two: the chain's row is found, locked and moved at once.
CREATE OR REPLACE FUNCTION "session"."chain_auth_event"() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    before_seq CONSTANT text := '{"userId" : ' || to_json(NEW.user_id) || ', "seq" : ';
    after_seq CONSTANT text := ', ' || substr(json_build_object(
        'at', to_char(NEW.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
        'type', NEW.type,
        'sessionId', NEW.session_id,
        'deviceId', NEW.device_id,
        'actorId', NEW.actor_id,
        'detail', NEW.detail)::text, 2);
BEGIN
    UPDATE session.auth_chains AS c
       SET seq = c.seq + 1, oldest_at = coalesce(c.oldest_at, NEW.at),
           hash = sha256(c.hash || convert_to(before_seq || (c.seq + 1) || after_seq, 'UTF8'))
     WHERE c.user_id = NEW.user_id
    RETURNING c.seq, c.hash INTO NEW.seq, NEW.hash;
    IF NOT FOUND THEN
        -- Whoever comes second waits here for the first, and goes on from there.
        INSERT INTO session.auth_chains AS c (user_id, seq, hash, oldest_at)
        VALUES (NEW.user_id, 1, sha256(decode(repeat('00', 32), 'hex') || convert_to(before_seq || 1 || after_seq, 'UTF8')), NEW.at)
            ON CONFLICT (user_id) DO UPDATE
           SET seq = c.seq + 1, oldest_at = coalesce(c.oldest_at, NEW.at),
               hash = sha256(c.hash || convert_to(before_seq || (c.seq + 1) || after_seq, 'UTF8'))
        RETURNING c.seq, c.hash INTO NEW.seq, NEW.hash;
    END IF;
    NEW.record := before_seq || NEW.seq || after_seq;
    RETURN NEW;
END
$$;
