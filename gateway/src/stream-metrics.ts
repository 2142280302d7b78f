/** What is counted of streams of events, whatever they come over. */
import { createCounter, type Labels } from "@continuo/process";

/** What a stream comes over: a WebSocket, server-sent events, the parts of a multipart answer, or a file that is taken away. */
export type StreamTransport = "SOCKET" | "EVENT_STREAM" | "MULTIPART" | "EXPORT";

/** An event of a subscription went to a client. */
export const countEvent: (labels: { readonly transport: StreamTransport }) => void = createCounter(
  "continuo_live_events_total",
  "Events of subscriptions that were told to clients.",
  ["transport"],
);

/** The reason is ours, or `CLIENT` where the other side has left. */
export const countClosed: (labels: { readonly transport: StreamTransport; readonly reason: string }) => void =
  createCounter("continuo_streams_closed_total", "Sockets and event streams that have ended, and why.", [
    "transport",
    "reason",
  ]);

/** A change was told of while a read was due already: the client, or the owner, is slower than the changes. */
export const countCoalesced: (labels: Labels) => void = createCounter(
  "continuo_live_coalesced_total",
  "Changes that were told of while a read for them was due already, so that one event has them all.",
  [],
);

/** Something relayed was dropped: nobody keeps it, and newer has come than a slow client has room for. */
export const countDropped: (labels: Labels) => void = createCounter(
  "continuo_relay_dropped_total",
  "Relayed changes that were dropped, as newer ones came than a slow client has room for.",
  [],
);
