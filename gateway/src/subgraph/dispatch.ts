/**
 * Sends one request and reads the whole response. Uses undici's `dispatch`, because `request` creates a stream per
 * response, which costs as much as everything else it does.
 */
import type { Dispatcher } from "undici";

/** A complete response. */
export interface Answer {
  readonly status: number;
  readonly text: string;
  /** By name in lower case. */
  readonly header: (name: string) => string | undefined;
}

/**
 * Rejects if the response is not complete within `withinMs` milliseconds, or as soon as `signal` aborts, even while
 * waiting for a connection. The pool's own timeouts are not used, because they restart with each chunk.
 */
export function dispatch(
  pool: Pick<Dispatcher, "dispatch">,
  options: Dispatcher.DispatchOptions,
  { withinMs, signal }: { readonly withinMs: number; readonly signal?: AbortSignal | undefined },
): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  let controller: Dispatcher.DispatchController | undefined;
  let givenUp: Error | undefined;
  let start: Pick<Answer, "status" | "header"> | undefined;
  const chunks: Buffer[] = [];

  function giveUp(reason: Error): void {
    givenUp = reason;
    controller?.abort(reason);
    finish();
    reject(reason);
  }

  function finish(): void {
    clearTimeout(late);
    signal?.removeEventListener("abort", leave);
  }

  const leave = (): void => giveUp(reasonOf(signal));
  const late = setTimeout(() => giveUp(new Error(`no answer within ${withinMs} ms`)), withinMs);

  pool.dispatch(options, {
    onRequestStart(started) {
      controller = started;
      if (givenUp) started.abort(givenUp);
    },
    onResponseStart(_controller, status, headers) {
      start = { status, header: (name) => headers[name]?.toString() };
    },
    onResponseData(_controller, chunk) {
      chunks.push(chunk);
    },
    onResponseEnd() {
      finish();
      if (start) resolve({ ...start, text: Buffer.concat(chunks).toString("utf8") });
    },
    onResponseError(_controller, cause) {
      finish();
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
