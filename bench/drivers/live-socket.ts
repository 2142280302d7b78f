/** Sockets as a revocation meets them: open, subscribed, and closed by the server with a code. */
import { once } from "node:events";
import { WebSocket } from "ws";
import { z } from "zod";
import type { GraphQLClient } from "./graphql-client.ts";

/** A server that has not closed a socket by then has failed. */
const PATIENCE_MS = 10_000;

const Message = z.looseObject({ type: z.string() });

/** Opens a plain socket. */
export async function openSocket(url: string): Promise<WebSocket> {
  const socket = new WebSocket(url, { perMessageDeflate: false });
  await once(socket, "open");
  return socket;
}

/** Queries and mutations over one caller's graphql-ws socket, one at a time. */
export async function openOperations(url: string, accessToken: string): Promise<GraphQLClient> {
  const socket = new WebSocket(url, "graphql-transport-ws", { perMessageDeflate: false });
  let answer = Promise.withResolvers<string>();
  let asked = 0;
  socket.on("message", (data) => {
    const text = Buffer.isBuffer(data) ? data.toString() : "";
    const message = Message.parse(JSON.parse(text));
    switch (message.type) {
      case "connection_ack":
        return answer.resolve(text);
      case "ping":
        return socket.send(JSON.stringify({ type: "pong" }));
      case "next":
        return text.includes('"errors":')
          ? answer.reject(new Error(text))
          : answer.resolve(JSON.stringify(message["payload"]));
      case "complete":
        return undefined;
      default:
        return answer.reject(new Error(`the operation was answered ${text}`));
    }
  });
  socket.on("close", (code, reason) => answer.reject(new Error(`closed with ${code} ${String(reason)}`)));
  socket.on("error", (cause) => answer.reject(cause));
  await once(socket, "open");
  socket.send(JSON.stringify({ type: "connection_init", payload: { authorization: `Bearer ${accessToken}` } }));
  await answer.promise;
  return {
    post({ body }) {
      answer = Promise.withResolvers();
      asked += 1;
      socket.send(`{"type":"subscribe","id":"${asked}","payload":${body}}`);
      return answer.promise;
    },
    async [Symbol.asyncDispose]() {
      socket.terminate();
    },
  };
}

/** A graphql-ws socket (graphql-transport-ws) of one caller, once its only subscription has had its first event. */
export async function openSubscription(url: string, accessToken: string, query: string): Promise<WebSocket> {
  const socket = new WebSocket(url, "graphql-transport-ws", { perMessageDeflate: false });
  const watching = Promise.withResolvers<void>();
  socket.on("message", (data) => {
    const text = Buffer.isBuffer(data) ? data.toString() : "";
    const message = Message.parse(JSON.parse(text));
    switch (message.type) {
      case "connection_ack":
        return socket.send(JSON.stringify({ type: "subscribe", id: "1", payload: { query } }));
      case "ping":
        return socket.send(JSON.stringify({ type: "pong" }));
      case "next":
        return watching.resolve();
      default:
        return watching.reject(new Error(`the subscription was answered ${text}`));
    }
  });
  socket.on("close", (code, reason) => watching.reject(new Error(`closed with ${code} ${String(reason)}`)));
  socket.on("error", watching.reject);
  await once(socket, "open");
  socket.send(JSON.stringify({ type: "connection_init", payload: { authorization: `Bearer ${accessToken}` } }));
  await watching.promise;
  return socket;
}

/** Resolves when the server closes the socket because its session ended; rejects on any other close. */
export async function closedByRevocation(socket: WebSocket): Promise<void> {
  const [code, reason]: unknown[] = await once(socket, "close", { signal: AbortSignal.timeout(PATIENCE_MS) });
  if (code !== 4403 || !String(reason).startsWith("SESSION_ENDED")) {
    throw new Error(`the socket closed with ${String(code)} ${String(reason)}`);
  }
}

/** Resolves when a message arrives that contains `value`. */
export async function receives(socket: WebSocket, value: string, patienceMs = PATIENCE_MS): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const patience = setTimeout(() => reject(new Error(`${value} did not come`)), patienceMs);
  const look = (data: unknown): void => {
    if (Buffer.isBuffer(data) && data.includes(`"${value}"`)) resolve();
  };
  socket.on("message", look);
  try {
    await promise;
  } finally {
    clearTimeout(patience);
    socket.off("message", look);
  }
}
