/** Which listeners in this process listen to which topic; one that throws is logged and does not affect the others. */
import { AppError } from "@continuo/errors";
import type { Logger } from "@continuo/process";
import type { PokeListener } from "./pokes.ts";

const MAX_TOPIC_LENGTH = 255;

export interface PokeListeners {
  readonly topics: () => string[];
  /** Listens until the result is disposed. */
  add(topic: string, listener: PokeListener): AsyncDisposable;
  readonly poke: (topic: string, text: string) => void;
  readonly gap: () => void;
}

/** The listeners of one topic. */
interface Heard {
  readonly listening: Set<Listening>;
  remove(listening: Listening): Promise<void>;
}

/** An empty registry. `onUnheard` is called for a topic whose last listener has gone. */
export function createPokeListeners(logger: Logger, onUnheard?: (topic: string) => Promise<void>): PokeListeners {
  const byTopic = new Map<string, Heard>();

  function heardOf(topic: string): Heard {
    const known = byTopic.get(topic);
    if (known) return known;
    const listening = new Set<Listening>();
    const heard: Heard = {
      listening,
      async remove(one) {
        if (!listening.delete(one) || listening.size > 0) return;
        byTopic.delete(topic);
        await onUnheard?.(topic);
      },
    };
    byTopic.set(topic, heard);
    return heard;
  }

  function threw(cause: unknown, topic: string): void {
    logger.error({ err: cause, topic }, "a poke listener threw");
  }

  return {
    topics: () => [...byTopic.keys()],

    add(topic, listener) {
      const heard = heardOf(topic);
      const listening = new Listening(listener, heard);
      heard.listening.add(listening);
      return listening;
    },

    poke(topic, text) {
      const number = Number(text);
      if (!Number.isSafeInteger(number)) return logger.warn({ topic }, "a poke without a number was ignored");
      for (const { listener } of byTopic.get(topic)?.listening ?? [])
        try {
          listener.onPoke(number);
        } catch (cause) {
          threw(cause, topic);
        }
    },

    gap() {
      for (const [topic, { listening }] of byTopic)
        for (const { listener } of listening)
          try {
            listener.onGap();
          } catch (cause) {
            threw(cause, topic);
          }
    },
  };
}

/**
 * One subscription. An object, as the same listener may subscribe twice; a class, as there is one for each open
 * subscription, and a closure each would take more memory.
 */
class Listening implements AsyncDisposable {
  readonly listener: PokeListener;
  readonly #heard: Heard;

  constructor(listener: PokeListener, heard: Heard) {
    this.listener = listener;
    this.#heard = heard;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#heard.remove(this);
  }
}

/** Validates what callers pass: a topic is 1 to 255 characters, a number a safe integer. Throws RangeError. */
export function assertPoke(topic: string, number = 0): void {
  if (topic.length === 0 || topic.length > MAX_TOPIC_LENGTH)
    throw new RangeError(`a topic has 1 to ${MAX_TOPIC_LENGTH} characters`);
  if (!Number.isSafeInteger(number)) throw new RangeError("a poke's number is a safe integer");
}

/** What publish and subscribe throw after disposal. */
export function pokesClosed(): AppError {
  return new AppError("UNAVAILABLE", "POKES_CLOSED", "This process is shutting down.");
}
