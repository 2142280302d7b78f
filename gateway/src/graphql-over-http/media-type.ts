import Negotiator from "negotiator";

const JSON_TYPE = "application/json; charset=utf-8";
const MEDIA_TYPES = [JSON_TYPE, "application/graphql-response+json; charset=utf-8"];
const NOT_ACCEPTABLE = 406;

/**
 * The `Content-Type` of an answer to who sends this `Accept` (GraphQL over HTTP, section 6.1); JSON to those who do not say.
 * Throws an error of `statusCode` 406 when it accepts none that there is.
 */
export function mediaTypeFor(accept: string | undefined): string {
  // Most say this much at most.
  if (accept === undefined || accept === "" || accept === "*/*" || accept === "application/json") return JSON_TYPE;
  const preferred = new Negotiator({ headers: { accept } }).mediaType(MEDIA_TYPES);
  if (preferred !== undefined) return preferred;
  throw Object.assign(new Error("no media type of GraphQL is accepted"), { statusCode: NOT_ACCEPTABLE });
}
