import { once } from "node:events";
import { createServer } from "node:net";
import { expect, it } from "vitest";
import { createPost, type PostResult, type Resolve } from "./post.ts";
import { startReceiver } from "./receiver.fixture.ts";

const at =
  (...addresses: string[]): Resolve =>
  (_hostname, _options, callback) => {
    const found = addresses.map((address) => ({ address, family: address.includes(":") ? 6 : 4 }));
    setImmediate(() => callback(null, found));
  };

async function send(resolve: Resolve, allowPrivate: boolean, url: string): Promise<PostResult> {
  await using post = createPost({ allowPrivate, resolve, timeoutMs: 2_000 });
  return await post.send(url, { headers: {}, body: "" }, new AbortController().signal);
}

it("a name that leads to a private address is not told", async () => {
  await using receiver = await startReceiver();
  const url = receiver.url.replace("127.0.0.1", "hooks.example.com");
  for (const secure of [url, url.replace("http:", "https:")]) {
    for (const address of ["127.0.0.1", "10.0.0.8", "169.254.169.254", "::1", "::ffff:127.0.0.1"]) {
      expect(await send(at(address), false, secure)).toEqual({ fault: "ADDRESS_REFUSED" });
    }
  }
  expect(receiver.received).toEqual([]);
  expect(await send(at("127.0.0.1"), true, url)).toMatchObject({ status: 204 });
});

it("a name that has changed its mind is judged again at each connection", async () => {
  await using receiver = await startReceiver();
  receiver.answer = (response) => void response.writeHead(204, { connection: "close" }).end();
  const answers = ["127.0.0.1", "8.8.8.8"];
  const resolve: Resolve = (hostname, options, callback) => at(answers.shift() ?? "")(hostname, options, callback);
  await using post = createPost({ allowPrivate: true, resolve, timeoutMs: 2_000 });
  const url = receiver.url.replace("127.0.0.1", "hooks.example.com");
  const told = (): Promise<PostResult> => post.send(url, { headers: {}, body: "" }, new AbortController().signal);
  expect(await told()).toMatchObject({ status: 204 });
  // The name now resolves to a public address, which requires TLS.
  expect(await told()).toEqual({ fault: "ADDRESS_REFUSED" });
});

it("a name that leads to a public and a private address is not told at the private one", async () => {
  let connections = 0;
  await using listening = createServer((socket) => {
    connections += 1;
    socket.destroy();
  }).listen(0, "127.0.0.1");
  await once(listening, "listening");
  // No host has that public address.
  const url = `https://hooks.example.com:${Object(listening.address()).port}/`;
  expect(await send(at("127.0.0.1", "2000::1"), false, url)).toHaveProperty("fault");
  expect(connections).toBe(0);
  await send(at("127.0.0.1", "2000::1"), true, url);
  expect(connections).toBeGreaterThan(0);
});

it("a post that is called off is no fault of the receiver's", async () => {
  await using receiver = await startReceiver();
  const stopping = new AbortController();
  receiver.answer = () => stopping.abort(new Error("the worker stops"));
  await using post = createPost({ allowPrivate: true, timeoutMs: 60_000 });
  const told = post.send(receiver.url, { headers: {}, body: "" }, stopping.signal);
  await expect(told).rejects.toThrow("the worker stops");
});

it("a name that leads nowhere cannot be reached", async () => {
  const nowhere: Resolve = (_hostname, _options, callback) =>
    void setImmediate(() => callback(new Error("no such name"), []));
  expect(await send(nowhere, true, "http://hooks.example.com/")).toEqual({ fault: "UNREACHABLE" });
});
