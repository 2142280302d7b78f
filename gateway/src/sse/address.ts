/** Where streamed answers are asked for. */
import type { IncomingMessage } from "node:http";
import { framingOf } from "./framing.ts";

export const STREAM_PATH = "/graphql/stream";
/** Names the event stream of a request in the single connection mode of GraphQL over SSE. */
export const TOKEN_HEADER = "x-graphql-event-stream-token";

/** Stock clients have one address for everything, and say by what they accept first that they want a stream. */
export function rewriteUrl({ url = "", headers }: Pick<IncomingMessage, "url" | "headers">): string {
  return framingOf(headers.accept) ? url.replace(/^\/graphql(?=$|\?)/, STREAM_PATH) : url;
}
