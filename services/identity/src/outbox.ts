/** This service's outbox: user events on their way to the services that keep data of the user. */
import { outboxTopic, type Pokes, type UserEvent } from "@continuo/signals";

/** The Postgres schema that this service owns. */
export const SCHEMA = "identity";

/** Announces that the outbox has new rows. */
export const announcePosted = (pokes: Pokes) => (): Promise<void> => pokes.publish(outboxTopic(SCHEMA), 0);

/**
 * Each event is sent after each of these delays. If the queue loses its data, the event is missing only until the next
 * repetition, which also undoes what was done in between with an access token that was still valid.
 */
export const REPEAT_AFTER_SECONDS = [0, 60, 3_600, 86_400] as const;

/**
 * CTE that posts an event about the user in the CTE `changed (id, epoch)`, once per topic and delay (seconds). A user
 * whose epoch is still 0 needs none: nothing has voided a sign-in of theirs yet.
 */
export const posted = (topics: string, delays: string, because: UserEvent["because"]): string => `
  posted AS (
    INSERT INTO identity.outbox (id, topic, payload, due_at)
    SELECT gen_random_uuid(), topic,
           jsonb_build_object('userId', changed.id, 'epoch', changed.epoch, 'because', '${because}'),
           now() + delay * interval '1 second'
      FROM changed CROSS JOIN unnest(${topics}::text[]) AS topic CROSS JOIN unnest(${delays}::int[]) AS delay
     WHERE changed.epoch > 0)`;
