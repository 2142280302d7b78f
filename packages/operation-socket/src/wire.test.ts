import { Writable } from "node:stream";
import { setImmediate as turn } from "node:timers/promises";
import { expect, test } from "vitest";
import { WebSocket } from "ws";
import { createSend } from "./wire.ts";

/** What was sent, one list per write. */
function createStream(): { stream: Writable; writes: string[][] } {
  const writes: string[][] = [];
  const stream = new Writable({
    decodeStrings: false,
    write: (chunk, _encoding, done) => {
      writes.push([String(chunk)]);
      done();
    },
    writev: (chunks, done) => {
      writes.push(chunks.map(({ chunk }) => String(chunk)));
      done();
    },
  });
  return { stream, writes };
}

test("what is sent in one turn of the event loop goes out as one write", async () => {
  const { stream, writes } = createStream();
  const send = createSend({ readyState: WebSocket.OPEN, send: (text: unknown) => void stream.write(text) }, stream);
  for (const text of ["a", "b", "c"]) send(text);
  await turn();
  send("d");
  send("e");
  expect(writes).toEqual([["a", "b", "c"]]);
  await turn();
  expect(writes).toEqual([
    ["a", "b", "c"],
    ["d", "e"],
  ]);
});

test("nothing is sent over a socket that is not open", () => {
  const { stream, writes } = createStream();
  createSend({ readyState: WebSocket.CLOSING, send: () => writes.push(["sent"]) }, stream)("a");
  expect(writes).toEqual([]);
});
