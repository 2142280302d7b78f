/** Metrics of event streams, for every transport. */
import { createCounter, type Labels } from "@continuo/process";

/** A stream's transport: a WebSocket, server-sent events, a multipart response, or a download. */
export type StreamTransport = "SOCKET" | "EVENT_STREAM" | "MULTIPART" | "EXPORT";

/** Counts an event that was sent to a client. */
export const countEvent: (labels: { readonly transport: StreamTransport }) => void = createCounter(
  "continuo_live_events_total",
  "Events of subscriptions that were told to clients.",
  ["transport"],
);

/** Counts a stream that ended. The reason is ours, or `CLIENT` if the client left. */
export const countClosed: (labels: { readonly transport: StreamTransport; readonly reason: string }) => void =
  createCounter("continuo_streams_closed_total", "Sockets and event streams that have ended, and why.", [
    "transport",
    "reason",
  ]);

/** Counts a change that arrived while a read was already due: the client or the owner is slower than the changes. */
export const countCoalesced: (labels: Labels) => void = createCounter(
  "continuo_live_coalesced_total",
  "Changes that were told of while a read for them was due already, so that one event has them all.",
  [],
);

/** Counts a relayed change that was dropped: nothing stores it, and newer ones came than a slow client has room for. */
export const countDropped: (labels: Labels) => void = createCounter(
  "continuo_relay_dropped_total",
  "Relayed changes that were dropped, as newer ones came than a slow client has room for.",
  [],
);
