export { mediaTypeFor } from "./media-type.ts";
export { type Parameters, readBody, readUrl } from "./parameters.ts";
