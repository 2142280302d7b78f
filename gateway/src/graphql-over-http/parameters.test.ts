import { describe, expect, test } from "vitest";
import { mediaTypeFor } from "./media-type.ts";
import { readBody, readUrl } from "./parameters.ts";

const JSON_TYPE = "application/json; charset=utf-8";
const RESPONSE_TYPE = "application/graphql-response+json; charset=utf-8";

describe("an answer", () => {
  test.each([
    ["who does not say what they accept", undefined, JSON_TYPE],
    ["who accepts anything", "*/*", JSON_TYPE],
    ["who accepts JSON", "application/json", JSON_TYPE],
    ["who accepts the type of GraphQL alone", "application/graphql-response+json", RESPONSE_TYPE],
    ["who prefers that", "application/json;q=0.9, application/graphql-response+json", RESPONSE_TYPE],
    ["who prefers JSON", "application/graphql-response+json;q=0.5, application/json", JSON_TYPE],
  ])("to %s is of the type that they like best", (_who, accept, type) => {
    expect(mediaTypeFor(accept)).toBe(type);
  });

  test("of another type is not to be had", () => {
    expect(() => mediaTypeFor("text/html")).toThrow(expect.objectContaining({ statusCode: 406 }));
  });
});

describe("a request", () => {
  test("says the same in a body and in a URL, where variables and extensions are JSON", () => {
    const [variables, extensions] = [{ a: 1 }, { b: [2] }];
    const asked = { query: "{ a }", operationName: "A", variables, extensions };
    expect(readBody(asked)).toEqual(asked);
    const texts = { variables: JSON.stringify(variables), extensions: JSON.stringify(extensions) };
    expect(readUrl({ ...asked, ...texts })).toEqual(asked);
  });

  test.each([
    ["a list", readBody, [{ query: "{ a }" }]],
    ["nothing at all", readBody, undefined],
    ["a query that is no text", readBody, { query: { kind: "Document" } }],
    ["no query, and nothing that names one", readBody, { variables: {} }],
    ["variables that are a list", readBody, { query: "{ a }", variables: [] }],
    ["variables that are text, in a body", readBody, { query: "{ a }", variables: "{}" }],
    ["extensions that are text, in a body", readBody, { query: "{ a }", extensions: "{}" }],
    ["variables that are no JSON, in a URL", readUrl, { query: "{ a }", variables: "{" }],
    ["variables that are a JSON list, in a URL", readUrl, { query: "{ a }", variables: "[]" }],
    ["a query given twice, in a URL", readUrl, { query: ["{ a }", "{ b }"] }],
  ])("of %s is refused", (_what, read, given) => {
    expect(() => read(given)).toThrow(expect.objectContaining({ code: "BAD_USER_INPUT", reason: "REQUEST_INVALID" }));
  });
});
