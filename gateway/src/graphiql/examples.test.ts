import { parse, validate } from "graphql";
import { describe, expect, it } from "vitest";
import { loadSupergraph } from "../graph/supergraph-file.ts";
import { readSupergraph } from "../graph/supergraph.ts";
import { EXAMPLES } from "./examples.ts";

const schema = readSupergraph(loadSupergraph()).apiSchema().toGraphQLJSSchema();

describe("every example in GraphiQL", () => {
  it.each(EXAMPLES)("is valid: $query", ({ query, variables = "{}", headers = "{}" }) => {
    expect(validate(schema, parse(query))).toEqual([]);
    expect([JSON.parse(variables), JSON.parse(headers)]).toEqual([expect.any(Object), expect.any(Object)]);
  });
});
