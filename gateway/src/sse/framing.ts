/**
 * How results are framed in the body of an HTTP response: as server-sent events (the GraphQL over SSE protocol), or as
 * multipart parts (Apollo's multipart subscription protocol 1.0, which Apollo Client uses over HTTP).
 */
import type { GraphQLFormattedError } from "graphql";
import type { StreamTransport } from "../stream-metrics.ts";

export interface Framing {
  readonly transport: StreamTransport;
  readonly contentType: string;
  /** Sent first, because some browsers do not report the headers until data follows. */
  readonly opening: string;
  readonly ping: string;
  /** Frames a result, given as JSON text. */
  readonly next: (result: string) => string;
  /** Tells the client that the stream is complete, so that it does not reconnect. */
  readonly complete: string;
  /** Reports an error of the stream itself, not of an operation's event. */
  readonly fault: (error: GraphQLFormattedError) => string;
  /** Ends a stream so that clients reconnect. The reason is for humans, where the format has room for it. */
  readonly interruption: (reason: string) => string;
}

const nextEvent = (json: string): string => `event: next\ndata: ${json}\n\n`;
const faultOf = (error: GraphQLFormattedError): string => JSON.stringify({ errors: [error] });

export const EVENT_STREAM: Framing = {
  transport: "EVENT_STREAM",
  contentType: "text/event-stream; charset=utf-8",
  opening: ":\n\n",
  ping: ":\n\n",
  next: nextEvent,
  complete: "event: complete\ndata:\n\n",
  fault: (error) => nextEvent(faultOf(error)),
  interruption: (reason) => `: ${reason}\n\n`,
};

/** Events of one of several operations on a stream, in the format of the single connection mode. */
export function operationEvents(id: string): Pick<Framing, "next" | "complete" | "fault"> {
  const next = (result: string): string => nextEvent(`{"id":${JSON.stringify(id)},"payload":${result}}`);
  return {
    next,
    complete: `event: complete\ndata: ${JSON.stringify({ id })}\n\n`,
    fault: (error) => next(faultOf(error)),
  };
}

/** A client processes a part when it sees the boundary after it, so each part ends with one. */
const BOUNDARY = "\r\n--graphql";
const part = (json: string): string => `\r\ncontent-type: application/json\r\n\r\n${json}${BOUNDARY}`;

const MULTIPART: Framing = {
  transport: "MULTIPART",
  contentType: 'multipart/mixed;boundary="graphql";subscriptionSpec="1.0"',
  opening: BOUNDARY + part("{}"),
  ping: part("{}"),
  next: (result) => part(`{"payload":${result}}`),
  complete: "--\r\n",
  fault: (error) => part(JSON.stringify({ payload: null, errors: [error] })),
  // Without the closing boundary the response is truncated, and clients retry.
  interruption: () => "",
};

/** The framing for the first media type of an Accept header; undefined if that is not a stream. */
export function framingOf(accept = ""): Framing | undefined {
  const [first = ""] = /^(?:[^",]|"[^"]*")*/.exec(accept) ?? [];
  if (/^\s*text\/event-stream\b/i.test(first)) return EVENT_STREAM;
  return /^\s*multipart\/mixed\b.*;\s*subscriptionSpec="?1\.0"?/i.test(first) ? MULTIPART : undefined;
}
