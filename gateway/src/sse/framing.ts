/**
 * How a stream of results is written into the body of an HTTP answer: as server-sent events (the GraphQL over SSE
 * protocol), or as parts (Apollo's multipart subscription protocol 1.0, what Apollo Client asks for over HTTP).
 */
import type { FormattedExecutionResult, GraphQLFormattedError } from "graphql";

export interface Framing {
  readonly contentType: string;
  /** Some browsers hold the headers back until something follows them. */
  readonly opening: string;
  readonly ping: string;
  readonly next: (result: FormattedExecutionResult) => string;
  /** The client has all there is, and does not come back. */
  readonly complete: string;
  /** The stream itself is at fault, not an operation's event. */
  readonly fault: (error: GraphQLFormattedError) => string;
  /** The last word of a stream that clients are to come back for; for people, where there is room for it. */
  readonly interruption: (reason: string) => string;
}

const nextEvent = (data: object): string => `event: next\ndata: ${JSON.stringify(data)}\n\n`;

export const EVENT_STREAM: Framing = {
  contentType: "text/event-stream; charset=utf-8",
  opening: ":\n\n",
  ping: ":\n\n",
  next: nextEvent,
  complete: "event: complete\ndata:\n\n",
  fault: (error) => nextEvent({ errors: [error] }),
  interruption: (reason) => `: ${reason}\n\n`,
};

/** The events of one of several operations on a stream, as the single connection mode has them. */
export const operationEvents = (id: string): Pick<Framing, "next" | "complete" | "fault"> => ({
  next: (payload) => nextEvent({ id, payload }),
  complete: `event: complete\ndata: ${JSON.stringify({ id })}\n\n`,
  fault: (error) => nextEvent({ id, payload: { errors: [error] } }),
});

/** A client reads a part when it sees the boundary after it, so that this ends each. */
const BOUNDARY = "\r\n--graphql";
const part = (content: object): string =>
  `\r\ncontent-type: application/json\r\n\r\n${JSON.stringify(content)}${BOUNDARY}`;

export const MULTIPART: Framing = {
  contentType: 'multipart/mixed;boundary="graphql";subscriptionSpec="1.0"',
  opening: BOUNDARY + part({}),
  ping: part({}),
  next: (payload) => part({ payload }),
  complete: "--\r\n",
  fault: (error) => part({ payload: null, errors: [error] }),
  // Without its last boundary it is cut short, which clients try again.
  interruption: () => "",
};

/** The framing that an Accept header asks for first, if it asks for one. */
export function framingOf(accept = ""): Framing | undefined {
  const [first = ""] = /^(?:[^",]|"[^"]*")*/.exec(accept) ?? [];
  if (/^\s*text\/event-stream\b/i.test(first)) return EVENT_STREAM;
  return /^\s*multipart\/mixed\b.*;\s*subscriptionSpec="?1\.0"?/i.test(first) ? MULTIPART : undefined;
}
