/** One event at a time, each to every socket: a worker stands for a socket, and measures when that socket has the event. */
import type { WebSocket } from "ws";
import { receives } from "./live-socket.ts";

/** A socket that has not received the event by then has failed. */
const PATIENCE_MS = 60_000;

/** An event: the value that identifies it, and how to send it. */
export interface Wave {
  readonly value: string;
  readonly send: () => Promise<void>;
}

/** A driver's `operate`: sends an event once all sockets are waiting for it. Resolves to the ms from then to its arrival. */
export function openWaves(sockets: readonly WebSocket[], nextWave: () => Wave): (worker: number) => Promise<number> {
  const begin = () => ({ ...nextWave(), waiting: 0, sentAt: Promise.withResolvers<number>() });
  let wave = begin();
  return async (worker) => {
    const socket = sockets[worker];
    if (!socket) throw new RangeError("each worker needs a socket");
    const { value, send, sentAt } = wave;
    const received = receives(socket, value, PATIENCE_MS).then(() => performance.now());
    wave.waiting += 1;
    if (wave.waiting === sockets.length) {
      wave = begin();
      sentAt.resolve(performance.now());
      await send();
    }
    return (await received) - (await sentAt.promise);
  };
}
