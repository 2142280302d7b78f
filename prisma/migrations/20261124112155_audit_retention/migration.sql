-- AlterTable
ALTER TABLE "session"."auth_chains" ADD COLUMN     "base_hash" BYTEA NOT NULL DEFAULT decode(repeat('00'::text, 32), 'hex'::text),
ADD COLUMN     "base_seq" BIGINT NOT NULL DEFAULT 0,
ADD COLUMN     "oldest_at" TIMESTAMPTZ(3);

-- CreateIndex
CREATE INDEX "auth_chains_oldest_at_idx" ON "session"."auth_chains"("oldest_at");

ALTER TABLE "session"."auth_chains"
    ADD CONSTRAINT "auth_chains_base_check" CHECK ("base_seq" BETWEEN 0 AND "seq");
UPDATE "session"."auth_chains" AS c SET "oldest_at" = e."at"
  FROM "session"."auth_events" AS e WHERE e."user_id" = c."user_id" AND e."seq" = 1;

-- As before, and it keeps the time of the oldest event that is left.
CREATE OR REPLACE FUNCTION "session"."chain_auth_event"() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    previous bytea;
BEGIN
    INSERT INTO session.auth_chains AS c (user_id, seq, hash, oldest_at) VALUES (NEW.user_id, 1, decode(repeat('00', 32), 'hex'), NEW.at)
        ON CONFLICT (user_id) DO UPDATE SET seq = c.seq + 1, oldest_at = coalesce(c.oldest_at, NEW.at)
    RETURNING c.seq, c.hash INTO NEW.seq, previous;
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
    UPDATE session.auth_chains SET hash = NEW.hash WHERE user_id = NEW.user_id;
    RETURN NEW;
END
$$;

-- An event may go once its chain begins behind it, and only the function below moves a chain's beginning.
CREATE FUNCTION "session"."refuse_deletion"() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF OLD.seq <= (SELECT c.base_seq FROM session.auth_chains AS c WHERE c.user_id = OLD.user_id) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'security events are append-only' USING ERRCODE = 'insufficient_privilege';
END
$$;
REVOKE ALL ON FUNCTION "session"."refuse_deletion"() FROM PUBLIC;
DROP TRIGGER "refuse_change" ON "session"."auth_events";
CREATE TRIGGER "refuse_change" BEFORE UPDATE OR TRUNCATE ON "session"."auth_events"
    FOR EACH STATEMENT EXECUTE FUNCTION "session"."refuse_change"();
CREATE TRIGGER "refuse_deletion" BEFORE DELETE ON "session"."auth_events"
    FOR EACH ROW EXECUTE FUNCTION "session"."refuse_deletion"();

-- Forgets about `batch` events from the front of chains, up to the first that is not before `before`; the hash of the last
-- one that went becomes the chain's base. Nothing younger than a year goes, whoever asks. Returns how many went.
CREATE FUNCTION "session"."prune_auth_events"("before" timestamptz, "batch" int) RETURNS int LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    past CONSTANT timestamptz := least(before, now() - interval '365 days');
    chain record;
    last bigint;
    pruned int := 0;
BEGIN
    FOR chain IN
        SELECT c.user_id, c.seq, c.base_seq FROM session.auth_chains AS c
         WHERE c.oldest_at < past ORDER BY c.oldest_at LIMIT batch FOR UPDATE SKIP LOCKED
    LOOP
        SELECT coalesce(min(e.seq) - 1, chain.seq) INTO last FROM session.auth_events AS e
         WHERE e.user_id = chain.user_id AND e.at >= past;
        last := least(last, chain.base_seq + batch - pruned);
        UPDATE session.auth_chains AS c
           SET base_seq = last, base_hash = e.hash,
               oldest_at = (SELECT n.at FROM session.auth_events AS n WHERE n.user_id = chain.user_id AND n.seq = last + 1)
          FROM session.auth_events AS e
         WHERE c.user_id = chain.user_id AND e.user_id = chain.user_id AND e.seq = last;
        DELETE FROM session.auth_events AS e WHERE e.user_id = chain.user_id AND e.seq <= last;
        pruned := pruned + (last - chain.base_seq)::int;
        EXIT WHEN pruned >= batch;
    END LOOP;
    RETURN pruned;
END
$$;
REVOKE ALL ON FUNCTION "session"."prune_auth_events"(timestamptz, int) FROM PUBLIC;
