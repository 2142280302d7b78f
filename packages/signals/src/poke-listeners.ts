/** Who listens to which topic in this process; a listener that throws is logged and harms nobody else. */
import { AppError } from "@continuo/errors";
import type { Logger } from "@continuo/process";
import type { PokeListener } from "./pokes.ts";

const MAX_TOPIC_LENGTH = 255;

export interface PokeListeners {
  readonly topics: () => string[];
  /** Returns a function that takes the listener out again and says whether it was the topic's last. */
  add(topic: string, listener: PokeListener): () => boolean;
  readonly poke: (topic: string, text: string) => void;
  readonly gap: () => void;
}

/** An empty registry. */
export function createPokeListeners(logger: Logger): PokeListeners {
  const byTopic = new Map<string, Set<PokeListener>>();

  function tell(topic: string, call: () => void): void {
    try {
      call();
    } catch (cause) {
      logger.error({ err: cause, topic }, "a poke listener threw");
    }
  }

  return {
    topics: () => [...byTopic.keys()],

    add: (topic, listener) => {
      // An object of its own: the same listener may be subscribed twice.
      const entry: PokeListener = { onPoke: (number) => listener.onPoke(number), onGap: () => listener.onGap() };
      const entries = byTopic.get(topic) ?? new Set();
      byTopic.set(topic, entries.add(entry));
      return () => {
        const last = entries.delete(entry) && entries.size === 0;
        if (last) byTopic.delete(topic);
        return last;
      };
    },

    poke: (topic, text) => {
      const number = Number(text);
      if (!Number.isSafeInteger(number)) return logger.warn({ topic }, "a poke without a number was ignored");
      for (const entry of byTopic.get(topic) ?? []) tell(topic, () => entry.onPoke(number));
    },

    gap: () => {
      for (const [topic, entries] of byTopic) for (const entry of entries) tell(topic, () => entry.onGap());
    },
  };
}

/** Guards what callers pass: a topic is 1 to 255 characters, a number a safe integer. Throws RangeError. */
export function assertPoke(topic: string, number = 0): void {
  if (topic.length === 0 || topic.length > MAX_TOPIC_LENGTH)
    throw new RangeError(`a topic has 1 to ${MAX_TOPIC_LENGTH} characters`);
  if (!Number.isSafeInteger(number)) throw new RangeError("a poke's number is a safe integer");
}

/** What publish and subscribe throw after disposal. */
export function pokesClosed(): AppError {
  return new AppError("UNAVAILABLE", "POKES_CLOSED", "This process is shutting down.");
}
