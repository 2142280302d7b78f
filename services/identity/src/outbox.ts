/** The outbox of this service: events of users, on their way to those who keep something of them. */
import { outboxTopic, type Pokes, type UserEvent } from "@continuo/signals";

/** The Postgres schema that this service owns. */
export const SCHEMA = "identity";

/** Says that the outbox has something new. */
export const announcePosted = (pokes: Pokes) => (): Promise<void> => pokes.publish(outboxTopic(SCHEMA), 0);

/**
 * An event goes at once, and again after these seconds: a queue that loses its data loses the event at most until then,
 * and what was done between two of them, by somebody whose access token was still good, is undone as well.
 */
export const SAID_AFTER_SECONDS = [0, 60, 3_600, 86_400] as const;

/**
 * CTE: an event about the user of the CTE `changed (id, epoch)`, on each topic, for each of the delays (seconds); of one who
 * was never disabled there is nothing to say.
 */
export const posted = (topics: string, delays: string, because: UserEvent["because"]): string => `
  posted AS (
    INSERT INTO identity.outbox (id, topic, payload, due_at)
    SELECT gen_random_uuid(), topic,
           jsonb_build_object('userId', changed.id, 'epoch', changed.epoch, 'because', '${because}'),
           now() + delay * interval '1 second'
      FROM changed CROSS JOIN unnest(${topics}::text[]) AS topic CROSS JOIN unnest(${delays}::int[]) AS delay
     WHERE changed.epoch > 0)`;
