/** Every operation that this repository's own clients send stays well below what is allowed. */
import { generateKey } from "@continuo/access";
import { parse, validate } from "graphql";
import { describe, expect, it } from "vitest";
import * as bench from "../../../bench/operations.ts";
import * as story from "../../../e2e/operations.ts";
import { Env, limitsOf, subgraphUrlVariables } from "../env.ts";
import { EXAMPLES } from "../graphiql/examples.ts";
import { loadSupergraph } from "../graph/supergraph-file.ts";
import { readSupergraph } from "../graph/supergraph.ts";
import { createCosts } from "./cost.ts";
import { createDocuments } from "./documents.ts";
import { readWeights } from "./weights.ts";

const env = Env.parse({
  GATEWAY_PRIVATE_KEY: JSON.stringify((await generateKey("Ed25519")).privateJwk),
  ...subgraphUrlVariables((name) => `http://${name}.test`),
  PUBLIC_URL: "http://a.test",
  TOKEN_ISSUER: "http://a.test",
  REDIS_URL: "redis://a.test",
});
const limits = limitsOf(env);
const supergraph = readSupergraph(loadSupergraph());
const schema = supergraph.apiSchema().toGraphQLJSSchema();
const costs = createCosts({ schema, weights: readWeights(supergraph), listSize: env.LIST_SIZE });
const half = createDocuments({
  ...limits,
  depth: limits.depth / 2,
  aliases: limits.aliases / 2,
  rootFields: limits.rootFields / 2,
  directives: limits.directives / 2,
  selections: limits.selections / 2,
  tokens: limits.tokens / 2,
});

const texts = [
  ...Object.values(story).map(({ text }) => text),
  ...Object.values(bench).flatMap((operation) => ("query" in operation ? [operation.query] : [])),
  ...EXAMPLES.map(({ query }) => query),
].filter((text) => validate(schema, parse(text)).length === 0);

describe("an operation of our own clients", () => {
  it("is there to be looked at", () => {
    expect(texts.length).toBeGreaterThan(30);
  });

  it.each(texts)("has at most half the size that is allowed, and costs at most half: %s", (text) => {
    const document = half.read(text);
    expect(costs.of(document, undefined, {})).toBeLessThanOrEqual(limits.cost / 2);
  });
});
