/**
 * A relay passes a text to whoever is listening at that moment, and stores nothing. Not a poke, which carries no data
 * and whose loss is repaired by reading again; not a job, which waits for a worker. For what may be lost without harm,
 * sealed by its sender: a bus may spill to disk what it carries.
 */
import type { Logger } from "@continuo/process";
import { AppError } from "@continuo/errors";

/** Relays between all processes of one installation. */
export interface Relays extends AsyncDisposable {
  /**
   * Sends `text` to all current listeners of `topic`, in the order of one sender's calls. Best effort: a bus that is
   * down is logged, not thrown. Throws RangeError for a text longer than MAX_RELAY_BYTES, UNAVAILABLE/RELAYS_CLOSED
   * after disposal.
   */
  publish(topic: string, text: string): Promise<void>;
  /**
   * Once resolved, the listener gets later texts of `topic`, unless the bus is down. Throws UNAVAILABLE/RELAYS_CLOSED
   * after disposal.
   */
  subscribe(topic: string, hear: (text: string) => void): Promise<AsyncDisposable>;
}

/**
 * Together with a topic of 255 characters, what fits in a Postgres notification; the same over Redis, so that both
 * behave alike.
 */
export const MAX_RELAY_BYTES = 7_500;

/** Which listeners in this process listen to which topic. */
export interface Ears {
  readonly topics: () => string[];
  /** Returns a function that removes the listener and says whether it was the topic's last. */
  add(topic: string, hear: (text: string) => void): () => boolean;
  readonly tell: (topic: string, text: string) => void;
}

/** An empty registry; a listener that throws is logged and does not affect the others. */
export function createEars(logger: Logger): Ears {
  const byTopic = new Map<string, Set<{ readonly hear: (text: string) => void }>>();
  return {
    topics: () => [...byTopic.keys()],
    add(topic, hear) {
      const ear = { hear };
      const ears = byTopic.get(topic) ?? new Set();
      byTopic.set(topic, ears.add(ear));
      return () => {
        const isLast = ears.delete(ear) && ears.size === 0;
        if (isLast) byTopic.delete(topic);
        return isLast;
      };
    },
    tell(topic, text) {
      for (const { hear } of byTopic.get(topic) ?? [])
        try {
          hear(text);
        } catch (cause) {
          logger.error({ err: cause, topic }, "a listener to a relay threw");
        }
    },
  };
}

/** Throws RangeError for a topic or text that no relay carries. */
export function assertRelay(topic: string, text: string): void {
  if (topic.length === 0 || topic.length > 255) throw new RangeError("a topic has 1 to 255 characters");
  if (Buffer.byteLength(text) > MAX_RELAY_BYTES)
    throw new RangeError(`a relay carries at most ${MAX_RELAY_BYTES} bytes`);
}

/** What publish and subscribe throw after disposal. */
export function relaysClosed(): AppError {
  return new AppError("UNAVAILABLE", "RELAYS_CLOSED", "This process is shutting down.");
}
