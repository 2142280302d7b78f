/**
 * How a stream of results is written into the body of an HTTP answer: as server-sent events (the GraphQL over SSE
 * protocol), or as parts (Apollo's multipart subscription protocol 1.0, what Apollo Client asks for over HTTP).
 */
import type { GraphQLFormattedError } from "graphql";
import type { StreamTransport } from "../stream-metrics.ts";

export interface Framing {
  readonly transport: StreamTransport;
  readonly contentType: string;
  /** Some browsers hold the headers back until something follows them. */
  readonly opening: string;
  readonly ping: string;
  /** A result, which is JSON already. */
  readonly next: (result: string) => string;
  /** The client has all there is, and does not come back. */
  readonly complete: string;
  /** The stream itself is at fault, not an operation's event. */
  readonly fault: (error: GraphQLFormattedError) => string;
  /** The last word of a stream that clients are to come back for; for people, where there is room for it. */
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

/** The events of one of several operations on a stream, as the single connection mode has them. */
export function operationEvents(id: string): Pick<Framing, "next" | "complete" | "fault"> {
  const next = (result: string): string => nextEvent(`{"id":${JSON.stringify(id)},"payload":${result}}`);
  return {
    next,
    complete: `event: complete\ndata: ${JSON.stringify({ id })}\n\n`,
    fault: (error) => next(faultOf(error)),
  };
}

/** A client reads a part when it sees the boundary after it, so that this ends each. */
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
  // Without its last boundary it is cut short, which clients try again.
  interruption: () => "",
};

/** The framing that an Accept header asks for first, if it asks for one. */
export function framingOf(accept = ""): Framing | undefined {
  const [first = ""] = /^(?:[^",]|"[^"]*")*/.exec(accept) ?? [];
  if (/^\s*text\/event-stream\b/i.test(first)) return EVENT_STREAM;
  return /^\s*multipart\/mixed\b.*;\s*subscriptionSpec="?1\.0"?/i.test(first) ? MULTIPART : undefined;
}
