/**
 * Composes the subgraphs' `.graphql` files into the one supergraph that the gateway loads and reviewers read. Run by
 * developers and tests, never by the gateway, which loads the committed result.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { composeServices } from "@apollo/composition";
import {
  type ASTNode,
  concatAST,
  type DocumentNode,
  type GraphQLError,
  GraphQLError as SyntaxFault,
  parse,
  Source,
} from "graphql";
import { keepPurposes, type Lost } from "./link-purposes.ts";
import { printApi } from "./subgraph-types.ts";
import { LiveFieldError, readSources } from "./subscription/sources.ts";

/** One team's part of the graph. */
export interface SubgraphDefinition {
  readonly name: string;
  readonly typeDefs: DocumentNode;
}

/** What is wrong, where (`services/<subgraph>/src/<file>:<line>`), and how to fix it. */
export interface Fault {
  readonly code: string;
  readonly message: string;
  readonly places: readonly string[];
  readonly fix?: string;
}

/** The subgraphs do not compose; `message` lists each fault with its subgraph, file, line and fix. */
export class CompositionError extends Error {
  override readonly name = "CompositionError";
  readonly code = "E_COMPOSITION";
  readonly faults: readonly Fault[];

  constructor(faults: readonly Fault[], options?: ErrorOptions) {
    super(faults.map(inWords).join("\n"), options);
    this.faults = faults;
  }
}

/** A fault as human-readable lines. */
export function inWords({ message, places, fix }: Fault): string {
  return [message, ...places.map((place) => `  at ${place}`), ...(fix ? [`  fix: ${fix}`] : [])].join("\n");
}

const HEADER =
  "# Composed from services/*/src/**/*.graphql by `npm run compose`. Do not edit: change the subgraph.\n\n";

const API_HEADER =
  "# What this subgraph serves, gathered from its src/**/*.graphql by `npm run compose`. Do not edit.\n\n";

const FIXES: Readonly<Record<string, string>> = {
  INVALID_FIELD_SHARING: "let one subgraph own the field, or mark it @shareable in each",
  FIELD_TYPE_MISMATCH: "give the field the same type in each subgraph",
  FIELD_ARGUMENT_TYPE_MISMATCH: "give the argument the same type in each subgraph",
  EXTERNAL_UNUSED: "remove the @external field, or use it in @key, @requires or @provides",
  KEY_INVALID_FIELDS: "name only fields that the type has in this subgraph",
  SATISFIABILITY_ERROR: "give the type a resolvable @key in the subgraph that owns the field",
  NO_QUERIES: "give at least one subgraph a Query field",
  ENUM_VALUE_MISMATCH: "use the same values in each subgraph, as the enum is both read and written",
  INVALID_GRAPHQL: "correct the subgraph's file",
  EXTERNAL_MISSING_ON_BASE: "define the field in the subgraph that owns it",
  REQUIRED_INPUT_FIELD_MISSING_IN_SOME_SUBGRAPH: "make the field optional, or add it in each subgraph",
  REQUIRED_ARGUMENT_MISSING_IN_SOME_SUBGRAPH: "make the argument optional, or add it in each subgraph",
  EMPTY_MERGED_INPUT_TYPE: "define the same fields in each subgraph",
  OVERRIDE_FROM_SELF_ERROR: "name the other subgraph in `from`",
  TYPE_KIND_MISMATCH: "make the type of the same kind in each subgraph, or rename one",
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
  // The gateway gets the real URLs from its environment; composition only requires that there is one.
  const services = subgraphs.map(({ name, typeDefs }) => ({ name, typeDefs, url: `http://${name}` }));
  const composed = composeServices(services);
  if (composed.errors) throw new CompositionError(composed.errors.map((error) => toFault(error, subgraphs)));
  const { supergraphSdl, lost } = keepPurposes(composed.supergraphSdl, subgraphs);
  if (lost.length > 0) throw new CompositionError(lost.map(leftOut));
  return `${HEADER}${supergraphSdl.trimEnd()}\n`;
}

/**
 * The committed files of the graph, for reviewers and for the check against main. Paths are relative to the repository.
 */
export function composedFiles(subgraphs: readonly SubgraphDefinition[]): {
  readonly supergraph: CommittedFile;
  readonly apis: readonly CommittedFile[];
} {
  const supergraph = composeSupergraph(subgraphs);
  assertLive(supergraph, subgraphs);
  return {
    supergraph: { path: "gateway/supergraph.graphql", text: supergraph },
    apis: subgraphs.map(({ name, typeDefs }) => ({
      path: `services/${name}/api.graphql`,
      text: `${API_HEADER}${printApi(typeDefs)}\n`,
    })),
  };
}

interface CommittedFile {
  readonly path: string;
  readonly text: string;
}

/** Reports here what would keep a gateway from starting. */
function assertLive(supergraph: string, subgraphs: readonly SubgraphDefinition[]): void {
  try {
    readSources(supergraph);
  } catch (cause) {
    if (!(cause instanceof LiveFieldError)) throw cause;
    const fix = "let @live or @relayed name a query of this subgraph, or say @streamed (docs/subgraphs.md)";
    throw new CompositionError(
      cause.faults.map((message) => ({
        code: cause.code,
        message,
        places: placesNamedIn(message, subgraphs).slice(0, 1),
        fix,
      })),
    );
  }
}

function leftOut({ subgraph, what }: Lost): Fault {
  return {
    code: "DIRECTIVE_LEFT_OUT",
    message: `[${subgraph}] ${what} would be left out of the supergraph, and protect nothing`,
    places: [],
    fix: "link it for: SECURITY and name it in @composeDirective, or take it out",
  };
}

function parseFile(subgraph: string, directory: string, file: string): DocumentNode {
  try {
    return parse(new Source(readFileSync(join(directory, file), "utf8"), `${subgraph}/src/${file}`));
  } catch (cause) {
    if (cause instanceof SyntaxFault) throw new CompositionError([toFault(cause, [])], { cause });
    throw cause;
  }
}

function toFault(error: GraphQLError, subgraphs: readonly SubgraphDefinition[]): Fault {
  const { code } = error.extensions;
  const fix = typeof code === "string" ? FIXES[code] : undefined;
  const own = error.source && error.locations?.[0] ? [`${error.source.name}:${error.locations[0].line}`] : [];
  const told = [...(error.nodes ?? []).flatMap(placesOf), ...own.map((place) => `services/${place}`)];
  // Satisfiability errors have no node of their own; the message names the fields.
  const places = told.length > 0 ? told : placesNamedIn(error.message, subgraphs);
  return {
    code: typeof code === "string" ? code : "INVALID_GRAPHQL",
    message: error.message,
    places: [...new Set(places)],
    ...(fix !== undefined && { fix }),
  };
}

/** The file and line of a node in a subgraph's document. */
export function placesOf({ loc }: ASTNode): string[] {
  return loc ? [`services/${loc.source.name}:${loc.startToken.line}`] : [];
}

function placesNamedIn(message: string, subgraphs: readonly SubgraphDefinition[]): string[] {
  const named = new Set(message.match(/\b[A-Z_a-z]\w*\.[A-Z_a-z]\w*/g));
  return subgraphs.flatMap(({ typeDefs }) =>
    typeDefs.definitions.flatMap((definition) =>
      "fields" in definition && "name" in definition
        ? (definition.fields ?? []).flatMap((field) =>
            named.has(`${definition.name.value}.${field.name.value}`) ? placesOf(field) : [],
          )
        : [],
    ),
  );
}
