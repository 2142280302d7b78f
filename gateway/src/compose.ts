/**
 * Composes the subgraphs' own `.graphql` files into the one supergraph that the gateway loads and a review reads.
 * Done by people and tests, never by a running gateway: it takes the committed result.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { composeServices } from "@apollo/composition";
import { concatAST, type DocumentNode, type GraphQLError, GraphQLError as SyntaxFault, parse, Source } from "graphql";

/** One team's part of the graph. */
export interface SubgraphDefinition {
  readonly name: string;
  readonly typeDefs: DocumentNode;
}

/** The subgraphs do not fit together; `message` lists each fault with its subgraph, file and line, and what to do. */
export class CompositionError extends Error {
  override readonly name = "CompositionError";
  readonly code = "E_COMPOSITION";
}

const HEADER =
  "# Composed from services/*/src/**/*.graphql by `npm run compose`. Do not edit: change the subgraph.\n\n";

const FIXES: Readonly<Record<string, string>> = {
  INVALID_FIELD_SHARING: "let one subgraph own the field, or mark it @shareable in each",
  FIELD_TYPE_MISMATCH: "give the field the same type in each subgraph",
  FIELD_ARGUMENT_TYPE_MISMATCH: "give the argument the same type in each subgraph",
  EXTERNAL_UNUSED: "remove the @external field, or use it in @key, @requires or @provides",
  KEY_INVALID_FIELDS: "name only fields that the type has in this subgraph",
  SATISFIABILITY_ERROR: "give the type a resolvable @key in the subgraph that owns the field",
  NO_QUERIES: "give at least one subgraph a Query field",
  ENUM_VALUE_MISMATCH: "use the same values in each subgraph, as the enum is both read and written",
};

/** Every service's `.graphql` files below `<services>/<name>/src`, in path order. Throws CompositionError on a syntax error. */
export function loadSubgraphs(servicesDirectory: string): SubgraphDefinition[] {
  return readdirSync(servicesDirectory, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort()
    .flatMap((name) => {
      const directory = join(servicesDirectory, name, "src");
      const files = readdirSync(directory, { recursive: true, encoding: "utf8" })
        .filter((file) => file.endsWith(".graphql"))
        .sort();
      return files.length === 0
        ? []
        : [{ name, typeDefs: concatAST(files.map((file) => parseFile(name, directory, file))) }];
    });
}

/** The supergraph as text, the same for the same input. Throws CompositionError. */
export function composeSupergraph(subgraphs: readonly SubgraphDefinition[]): string {
  // The real addresses come from the environment; these only have to be there.
  const services = subgraphs.map(({ name, typeDefs }) => ({ name, typeDefs, url: `http://${name}` }));
  const composed = composeServices(services);
  if (composed.errors) throw new CompositionError(composed.errors.map(describe).join("\n"));
  return `${HEADER}${composed.supergraphSdl.trimEnd()}\n`;
}

function parseFile(subgraph: string, directory: string, file: string): DocumentNode {
  try {
    return parse(new Source(readFileSync(join(directory, file), "utf8"), `${subgraph}/src/${file}`));
  } catch (cause) {
    if (cause instanceof SyntaxFault) throw new CompositionError(describe(cause), { cause });
    throw cause;
  }
}

function describe(error: GraphQLError): string {
  const places = (error.nodes ?? []).flatMap(({ loc }) => (loc ? [`${loc.source.name}:${loc.startToken.line}`] : []));
  const own = error.source && error.locations?.[0] ? [`${error.source.name}:${error.locations[0].line}`] : [];
  const code = error.extensions["code"];
  const fix = typeof code === "string" ? FIXES[code] : undefined;
  const at = [...new Set([...places, ...own])];
  return [error.message, ...at.map((place) => `  at services/${place}`), ...(fix ? [`  fix: ${fix}`] : [])].join("\n");
}
