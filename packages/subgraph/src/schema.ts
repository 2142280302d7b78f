/** A subgraph's schema from its `.graphql` files and resolvers. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { buildSubgraphSchema, type GraphQLSchemaModule } from "@apollo/subgraph";
import { AppError } from "@continuo/errors";
import { concatAST, parse, Source, type DocumentNode, type GraphQLSchema } from "graphql";

export type SubgraphResolvers = NonNullable<GraphQLSchemaModule["resolvers"]>;

/** Every `.graphql` file below `directory`, in path order, as one document. */
export function loadTypeDefs(directory: string): DocumentNode {
  const files = readdirSync(directory, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".graphql"))
    .sort();
  return concatAST(files.map((file) => parse(new Source(readFileSync(join(directory, file), "utf8"), file))));
}

/** The number of objects that the gateway's default cost limit allows in one operation. */
const MAX_ENTITIES = 10_000;

/**
 * Builds the schema. A `__resolveReference` that throws fails only its own entity, not the whole batch; a batch of more
 * than `maxEntities` is refused with BAD_USER_INPUT, TOO_MANY_ENTITIES before any entity is looked up.
 */
export function buildSchema(
  typeDefs: DocumentNode,
  resolvers: SubgraphResolvers,
  { maxEntities = MAX_ENTITIES }: { maxEntities?: number | undefined } = {},
): GraphQLSchema {
  const schema = buildSubgraphSchema([{ typeDefs, resolvers: withSafeReferences(resolvers) }]);
  const entities = schema.getQueryType()?.getFields()["_entities"];
  const resolve = entities?.resolve;
  if (entities && resolve)
    entities.resolve = (root, args, context, info) => {
      const asked = Array.isArray(args["representations"]) ? args["representations"].length : 0;
      if (asked > maxEntities)
        throw new AppError("BAD_USER_INPUT", "TOO_MANY_ENTITIES", `At most ${maxEntities} objects at a time.`, {
          details: { allowed: maxEntities, asked },
        });
      return resolve(root, args, context, info);
    };
  return schema;
}

function withSafeReferences(resolvers: SubgraphResolvers): SubgraphResolvers {
  return Object.fromEntries(
    Object.entries(resolvers).map(([type, fields]) => {
      if (!("__resolveReference" in fields) || typeof fields.__resolveReference !== "function") return [type, fields];
      const resolve = fields.__resolveReference;
      // @apollo/subgraph calls it synchronously for each representation: only a rejected promise is limited to its own entity.
      const safe = async (...args: Parameters<typeof resolve>): Promise<unknown> => resolve(...args);
      return [type, { ...fields, __resolveReference: safe }];
    }),
  );
}
