/** One request and its whole answer: undici's `request` makes a stream of each answer, which costs as much as all else it does. */
import type { Dispatcher } from "undici";

/** An answer that has come to its end. */
export interface Answer {
  readonly status: number;
  readonly text: string;
  /** By name in lower case. */
  readonly header: (name: string) => string | undefined;
}

/** Rejects when there is no answer, and as soon as the signal says that nobody waits for it, also while it waits for a connection. */
export function dispatch(
  pool: Pick<Dispatcher, "dispatch">,
  options: Dispatcher.DispatchOptions,
  signal: AbortSignal | undefined,
): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  let controller: Dispatcher.DispatchController | undefined;
  let start: Pick<Answer, "status" | "header"> | undefined;
  const chunks: Buffer[] = [];

  function leave(): void {
    const reason = reasonOf(signal);
    controller?.abort(reason);
    reject(reason);
  }

  pool.dispatch(options, {
    onRequestStart(started) {
      controller = started;
      if (signal?.aborted) leave();
    },
    onResponseStart(_controller, status, headers) {
      start = { status, header: (name) => headers[name]?.toString() };
    },
    onResponseData(_controller, chunk) {
      chunks.push(chunk);
    },
    onResponseEnd() {
      signal?.removeEventListener("abort", leave);
      if (start) resolve({ ...start, text: Buffer.concat(chunks).toString("utf8") });
    },
    onResponseError(_controller, cause) {
      signal?.removeEventListener("abort", leave);
      reject(cause);
    },
  });
  if (signal?.aborted) leave();
  signal?.addEventListener("abort", leave, { once: true });
  return promise;
}

function reasonOf(signal: AbortSignal | undefined): Error {
  return signal?.reason instanceof Error ? signal.reason : new Error("nobody waits for the answer");
}
