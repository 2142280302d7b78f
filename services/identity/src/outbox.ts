/** The outbox of this service: events of users, on their way to those who keep something of them. */
import { outboxTopic, type Pokes } from "@continuo/signals";

/** The Postgres schema that this service owns. */
export const SCHEMA = "identity";

/** Says that the outbox has something new. */
export const announcePosted = (pokes: Pokes) => (): Promise<void> => pokes.publish(outboxTopic(SCHEMA), 0);
