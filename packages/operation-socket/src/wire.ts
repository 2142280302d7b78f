/** The parts of the protocol that both sides share. */
import { type Message, parseMessage } from "graphql-ws";
import type { Writable } from "node:stream";
import { type RawData, WebSocket } from "ws";

/** Where a subgraph accepts these sockets; those for streams are at `/graphql`. */
export const PATH = "/graphql/operations";
/** Largest message that a subgraph reads. Longer operations go over HTTP, so that they hold nothing up. Bytes. */
export const MAX_REQUEST_BYTES = 1024 * 1024;
/** Largest message that a gateway reads. Bytes. */
export const MAX_ANSWER_BYTES = 8 * 1024 * 1024;
/** Payload of the ping by which a subgraph says that it takes no more operations on this socket. */
export const GOING_AWAY = { goingAway: true } as const;
/** A UTF-16 code unit takes at most this many bytes in UTF-8. */
export const BYTES_A_CHARACTER = 3;

/** The message, or undefined for anything that is not part of the protocol. */
export function readMessage(data: RawData): Message | undefined {
  if (!Buffer.isBuffer(data)) return undefined;
  try {
    return parseMessage(data.toString("utf8"));
  } catch {
    return undefined;
  }
}

/** Sends text messages; those sent in one turn of the event loop go out in one write. `stream` is beneath the socket. */
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
