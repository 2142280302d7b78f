/**
 * A relay passes a text on to whoever listens at that moment and keeps nothing of it. Not a poke, which carries no data
 * and is healed by looking again; not a job, which waits for somebody. What may be lost without harm goes this way, sealed
 * by its sender: a bus may spill what it carries to its disk.
 */
import type { Logger } from "@continuo/process";
import { AppError } from "@continuo/errors";

/** Relays between all processes of one installation. */
export interface Relays extends AsyncDisposable {
  /**
   * Hands `text` to everybody who listens to `topic` now, in the order of one sender's calls. Best effort: a bus that is
   * down is logged, not thrown. Throws RangeError for a longer text than MAX_RELAY_BYTES, UNAVAILABLE/RELAYS_CLOSED after disposal.
   */
  publish(topic: string, text: string): Promise<void>;
  /** Once resolved, later texts of `topic` are heard, unless the bus is down. Throws UNAVAILABLE/RELAYS_CLOSED after disposal. */
  subscribe(topic: string, hear: (text: string) => void): Promise<AsyncDisposable>;
}

/** With a topic of 255 characters, what a notification of Postgres takes; the same over Redis, so that nothing depends on which it is. */
export const MAX_RELAY_BYTES = 7_500;

/** Who listens to which topic in this process. */
export interface Ears {
  readonly topics: () => string[];
  /** Returns a function that takes the ear out again and says whether it was the topic's last. */
  add(topic: string, hear: (text: string) => void): () => boolean;
  readonly tell: (topic: string, text: string) => void;
}

/** An empty registry; an ear that throws is logged and harms nobody else. */
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

/** Throws RangeError for what no relay carries. */
export function assertRelay(topic: string, text: string): void {
  if (topic.length === 0 || topic.length > 255) throw new RangeError("a topic has 1 to 255 characters");
  if (Buffer.byteLength(text) > MAX_RELAY_BYTES)
    throw new RangeError(`a relay carries at most ${MAX_RELAY_BYTES} bytes`);
}

/** What publish and subscribe throw after disposal. */
export function relaysClosed(): AppError {
  return new AppError("UNAVAILABLE", "RELAYS_CLOSED", "This process is shutting down.");
}
