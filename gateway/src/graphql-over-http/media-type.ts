import Negotiator from "negotiator";

const JSON_TYPE = "application/json; charset=utf-8";
const MEDIA_TYPES = [JSON_TYPE, "application/graphql-response+json; charset=utf-8"];
const NOT_ACCEPTABLE = 406;

/**
 * The response's `Content-Type` for a request's `Accept` (GraphQL over HTTP, section 6.1); JSON if there is none.
 * Throws an error with `statusCode` 406 if the client accepts neither media type.
 */
export function mediaTypeFor(accept: string | undefined): string {
  // Fast path for the most common values.
  if (accept === undefined || accept === "" || accept === "*/*" || accept === "application/json") return JSON_TYPE;
  const preferred = new Negotiator({ headers: { accept } }).mediaType(MEDIA_TYPES);
  if (preferred !== undefined) return preferred;
  throw Object.assign(new Error("no media type of GraphQL is accepted"), { statusCode: NOT_ACCEPTABLE });
}
