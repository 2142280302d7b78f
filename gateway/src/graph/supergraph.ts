/**
 * Parses a supergraph with Apollo's packages. Refuses one that relies on security or execution features this gateway
 * does not know, because they would not be enforced.
 */
import {
  ArgumentDefinition,
  DEFAULT_SUPPORTED_SUPERGRAPH_FEATURES,
  type DirectiveDefinition,
  FieldDefinition,
  Supergraph,
} from "@apollo/federation-internals";

/**
 * The access policy (`access-policy/`) enforces `@authenticated`, `@requiresScopes` and `@requiresAuth`, so the planner
 * may ignore them.
 */
export const AUTHENTICATED = "https://specs.apollo.dev/authenticated";
export const REQUIRES_SCOPES = "https://specs.apollo.dev/requiresScopes";
export const REQUIRES_AUTH = "https://specs.continuo.example/auth";
/** The specification of `@cost` and `@listSize` (`limits/`). */
export const COST = "https://specs.apollo.dev/cost";

const ENFORCED: readonly string[] = [AUTHENTICATED, REQUIRES_SCOPES, REQUIRES_AUTH];
const SUPPORTED = new Set([
  ...DEFAULT_SUPPORTED_SUPERGRAPH_FEATURES,
  `${AUTHENTICATED}/v0.1`,
  `${REQUIRES_SCOPES}/v0.1`,
  `${REQUIRES_AUTH}/v1.0`,
]);

/** The supergraph cannot be served as intended; `message` says why and what to do. */
export class SupergraphError extends Error {
  override readonly name = "SupergraphError";
  readonly code = "E_SUPERGRAPH";

  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    // The message is for operators; a stack trace into our code would not help them.
    this.stack = `${this.code}  ${message}`;
  }
}

/**
 * Reads a supergraph. Throws SupergraphError if it is not valid, or links a feature `for: SECURITY` or `for: EXECUTION`
 * that this gateway does not know.
 */
export function readSupergraph(sdl: string): Supergraph {
  let supergraph: Supergraph;
  try {
    supergraph = Supergraph.build(sdl, { supportedFeatures: SUPPORTED, validateSupergraph: true });
  } catch (cause) {
    throw refused(cause instanceof Error ? cause.message : String(cause), cause);
  }
  // The composed `@link` may lack its `for:` argument.
  for (const { url } of supergraph.schema.coreFeatures?.allFeatures() ?? [])
    if (ENFORCED.includes(url.identity) && !SUPPORTED.has(url.base.toString()))
      throw refused(`this gateway does not know ${url.toString()}`);
  return supergraph;
}

/** One application of a directive. `coordinate` is `Type`, `Type.field` or `Type.field(argument:)`. */
export interface Application {
  readonly coordinate: string;
  readonly element: object;
  readonly given: Readonly<Record<string, unknown>>;
}

/**
 * A specification's directive, whatever it is named in the supergraph; undefined if the supergraph does not have it.
 */
export function findDirective(
  { schema }: Supergraph,
  identity: string,
  name: string,
): { readonly definition: DirectiveDefinition; readonly applications: readonly Application[] } | undefined {
  const feature = schema.coreFeatures?.getByIdentity(identity);
  const definition = feature && schema.directive(feature.directiveNameInSchema(name));
  if (!definition) return undefined;
  const applications = [...definition.applications()].map((application) => ({
    coordinate: coordinateOf(application.parent),
    element: application.parent,
    given: application.arguments(true),
  }));
  return { definition, applications };
}

function coordinateOf(element: object): string {
  if (element instanceof FieldDefinition || element instanceof ArgumentDefinition) return element.coordinate;
  return "name" in element ? String(element.name) : "";
}

function refused(why: string, cause?: unknown): SupergraphError {
  const fix = "Fix: run a gateway that knows what the supergraph links to, or take the directive out of the subgraph.";
  return new SupergraphError(`The supergraph cannot be served: ${why}\n${fix}`, { cause });
}
