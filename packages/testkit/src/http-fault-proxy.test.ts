import { once } from "node:events";
import { createServer } from "node:http";
import { expect, test } from "vitest";
import { startHttpFaultProxy, type HttpFault } from "./http-fault-proxy.ts";

/** What a client that waits a while receives through a proxy with this fault, and how often the service was called. */
async function ask(fault: HttpFault): Promise<{ heard: string; asked: number; overheard: number }> {
  await using stack = new AsyncDisposableStack();
  let asked = 0;
  const service = createServer((_request, response) => {
    asked += 1;
    response.end("yes");
  }).listen(0, "127.0.0.1");
  stack.defer(() => service.close().closeAllConnections());
  await once(service, "listening");
  const address = service.address();
  if (address === null || typeof address === "string") throw new Error("no port was given");
  let overheard = 0;
  const proxy = stack.use(
    await startHttpFaultProxy({
      targets: [`http://127.0.0.1:${address.port}`],
      faultOf: () => fault,
      lateMs: () => 1,
      overheard: () => (overheard += 1),
    }),
  );
  const heard = await fetch(proxy.url, { method: "POST", body: "?", signal: AbortSignal.timeout(500) }).then(
    (response) => response.text(),
    (cause: unknown) => (cause instanceof Error && cause.name === "TimeoutError" ? "silence" : "a broken connection"),
  );
  expect(proxy.counts[fault]).toBe(1);
  return { heard, asked, overheard };
}

test.each([
  ["NONE", "yes", 1],
  ["LATE", "yes", 1],
  ["LOSE_REQUEST", "a broken connection", 0],
  ["LOSE_ANSWER", "a broken connection", 1],
  ["HALF_OPEN", "silence", 0],
] as const)("%s: whoever asks hears %s, and the service is asked %i times", async (fault, heard, asked) => {
  expect(await ask(fault)).toEqual({ heard, asked, overheard: asked });
});

test("DOUBLE: the service is asked twice, and whoever asks hears one answer", async () => {
  const { heard, asked } = await ask("DOUBLE");
  expect([heard, asked]).toEqual(["yes", 2]);
});
