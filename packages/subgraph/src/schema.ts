/** A subgraph's schema from its `.graphql` files and resolvers. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { buildSubgraphSchema, type GraphQLSchemaModule } from "@apollo/subgraph";
import { concatAST, parse, Source, type DocumentNode, type GraphQLSchema } from "graphql";

export type SubgraphResolvers = NonNullable<GraphQLSchemaModule["resolvers"]>;

/** Every `.graphql` file below `directory`, in path order, as one document. */
export function loadTypeDefs(directory: string): DocumentNode {
  const files = readdirSync(directory, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".graphql"))
    .sort();
  return concatAST(files.map((file) => parse(new Source(readFileSync(join(directory, file), "utf8"), file))));
}

/** Builds the schema. A `__resolveReference` that throws fails its own entity only, not the whole batch. */
export function buildSchema(typeDefs: DocumentNode, resolvers: SubgraphResolvers): GraphQLSchema {
  return buildSubgraphSchema([{ typeDefs, resolvers: withSafeReferences(resolvers) }]);
}

function withSafeReferences(resolvers: SubgraphResolvers): SubgraphResolvers {
  return Object.fromEntries(
    Object.entries(resolvers).map(([type, fields]) => {
      if (!("__resolveReference" in fields) || typeof fields.__resolveReference !== "function") return [type, fields];
      const resolve = fields.__resolveReference;
      // @apollo/subgraph calls it synchronously for each representation: only a rejected promise stays with its own.
      const safe = async (...args: Parameters<typeof resolve>): Promise<unknown> => resolve(...args);
      return [type, { ...fields, __resolveReference: safe }];
    }),
  );
}
