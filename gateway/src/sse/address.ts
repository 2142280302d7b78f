/** Where streamed responses are served. */
import type { IncomingMessage } from "node:http";
import { framingOf } from "./framing.ts";

export const STREAM_PATH = "/graphql/stream";
/** Identifies the event stream of a request in the single connection mode of GraphQL over SSE. */
export const TOKEN_HEADER = "x-graphql-event-stream-token";

/**
 * Routes requests for a stream to its path: stock clients use one URL for everything, and list a streaming media type
 * first in Accept.
 */
export function rewriteUrl({ url = "", headers }: Pick<IncomingMessage, "url" | "headers">): string {
  return framingOf(headers.accept) ? url.replace(/^\/graphql(?=$|\?)/, STREAM_PATH) : url;
}
