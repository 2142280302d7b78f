/**
 * An id is free again once its client has ended the operation. graphql-ws knows operations by their ids alone, and would
 * take the end of the former for that of the next: which would be told that it is over, and be forgotten while it goes on,
 * beyond its socket even. So what its client has left is never heard of again: it neither yields nor ends.
 */

/** Never resolves. A fresh one for each who waits: whoever waited for a common one would be kept with it. */
export function never(): Promise<never> {
  return new Promise(() => undefined);
}

/** The same events, and silence once its client has left; `onLeft` is told. */
export function untilLeft<Event>(
  events: AsyncIterableIterator<Event, undefined>,
  onLeft: () => void,
): AsyncIterableIterator<Event, undefined> {
  let isLeft = false;
  const stream: AsyncIterableIterator<Event, undefined> = {
    [Symbol.asyncIterator]: () => stream,
    async next() {
      try {
        const event = await events.next();
        return isLeft ? never() : event;
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
