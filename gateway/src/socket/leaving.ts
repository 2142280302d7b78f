/**
 * An id is free again once its client has ended the operation. graphql-ws knows operations by their ids alone, and would
 * take the end of the former for that of the next: which would be told that it is over, and be forgotten while it goes on,
 * beyond its socket even. So what its client has left is never heard of again: it neither yields nor ends.
 */

/** Never resolves. A fresh one for each who waits: whoever waited for a common one would be kept with it. */
export function never(): Promise<never> {
  return new Promise(() => undefined);
}

/**
 * Passes events on until their end, and is silent once its client has left: `onLeft` is told. It yields none, so that whoever
 * runs it has nothing to make of them: `send` alone writes an event, and resolves when the next may follow.
 */
export function untilLeft<Event>(
  events: AsyncIterableIterator<Event, undefined>,
  { send, onLeft }: { send: (event: Event) => Promise<void>; onLeft: () => void },
): AsyncIterableIterator<never, undefined> {
  let isLeft = false;
  const stream: AsyncIterableIterator<never, undefined> = {
    [Symbol.asyncIterator]: () => stream,
    async next() {
      try {
        for (;;) {
          const event = await events.next();
          if (isLeft) return never();
          if (event.done) return { done: true, value: undefined };
          await send(event.value);
        }
      } catch (cause) {
        return isLeft ? never() : Promise.reject(cause);
      }
    },
    async return() {
      isLeft = true;
      onLeft();
      await events.return?.();
      return { done: true, value: undefined };
    },
  };
  return stream;
}
