/** What both sides hold of the protocol. */
import { type Message, parseMessage } from "graphql-ws";
import type { Writable } from "node:stream";
import { type RawData, WebSocket } from "ws";

/** Where a subgraph takes such sockets; streams have others (`/graphql`). */
export const PATH = "/graphql/operations";
/** What a subgraph reads of one message. Longer operations go over HTTP, so that they hold nothing up. Bytes. */
export const MAX_REQUEST_BYTES = 1024 * 1024;
/** What a gateway reads of one. Bytes. */
export const MAX_ANSWER_BYTES = 8 * 1024 * 1024;
/** The payload of the ping by which a subgraph says that it takes no more over this socket. */
export const GOING_AWAY = { goingAway: true } as const;
/** A character of JavaScript's is so many bytes of UTF-8 at most. */
export const BYTES_A_CHARACTER = 3;

/** A message, or undefined for what is none of the protocol. */
export function readMessage(data: RawData): Message | undefined {
  if (!Buffer.isBuffer(data)) return undefined;
  try {
    return parseMessage(data.toString("utf8"));
  } catch {
    return undefined;
  }
}

/** Sends texts; what is sent in one turn of the event loop goes out as one write. `stream` is beneath the socket. */
export function createSend(
  socket: Pick<WebSocket, "readyState" | "send">,
  stream: Pick<Writable, "cork" | "uncork">,
): (text: string) => void {
  let isCorked = false;

  function uncork(): void {
    isCorked = false;
    stream.uncork();
  }

  return (text) => {
    if (socket.readyState !== WebSocket.OPEN) return;
    if (!isCorked) {
      isCorked = true;
      stream.cork();
      setImmediate(uncork);
    }
    socket.send(text);
  };
}
