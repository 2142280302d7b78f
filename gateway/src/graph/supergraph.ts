/** A supergraph as Apollo's packages understand it, or refused: what is meant to protect it and is not known protects nothing. */
import {
  ArgumentDefinition,
  DEFAULT_SUPPORTED_SUPERGRAPH_FEATURES,
  type DirectiveDefinition,
  FieldDefinition,
  Supergraph,
} from "@apollo/federation-internals";

/** `@authenticated`, `@requiresScopes` and `@requiresAuth` are enforced here (`access-policy/`), so planning may ignore them. */
export const AUTHENTICATED = "https://specs.apollo.dev/authenticated";
export const REQUIRES_SCOPES = "https://specs.apollo.dev/requiresScopes";
export const REQUIRES_AUTH = "https://specs.continuo.example/auth";
/** Of `@cost` and `@listSize` (`limits/`). */
export const COST = "https://specs.apollo.dev/cost";

const ENFORCED: readonly string[] = [AUTHENTICATED, REQUIRES_SCOPES, REQUIRES_AUTH];
const SUPPORTED = new Set([
  ...DEFAULT_SUPPORTED_SUPERGRAPH_FEATURES,
  `${AUTHENTICATED}/v0.1`,
  `${REQUIRES_SCOPES}/v0.1`,
  `${REQUIRES_AUTH}/v1.0`,
]);

/** The supergraph cannot be served as it is meant; `message` says why and what to do. */
export class SupergraphError extends Error {
  override readonly name = "SupergraphError";
  readonly code = "E_SUPERGRAPH";

  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    // For whoever runs the process: where in our code it was noticed does not help them.
    this.stack = `${this.code}  ${message}`;
  }
}

/**
 * Reads a supergraph. Throws SupergraphError on what is `for: SECURITY` or `for: EXECUTION` and not known to this gateway,
 * and on what is no supergraph.
 */
export function readSupergraph(sdl: string): Supergraph {
  let supergraph: Supergraph;
  try {
    supergraph = Supergraph.build(sdl, { supportedFeatures: SUPPORTED, validateSupergraph: true });
  } catch (cause) {
    throw refused(cause instanceof Error ? cause.message : String(cause), cause);
  }
  // Whoever composed it may not have said what a link is for.
  for (const { url } of supergraph.schema.coreFeatures?.allFeatures() ?? [])
    if (ENFORCED.includes(url.identity) && !SUPPORTED.has(url.base.toString()))
      throw refused(`this gateway does not know ${url.toString()}`);
  return supergraph;
}

/** A directive where it stands. `coordinate` is `Type`, `Type.field` or `Type.field(argument:)`. */
export interface Application {
  readonly coordinate: string;
  readonly element: object;
  readonly given: Readonly<Record<string, unknown>>;
}

/** A directive of a specification, by whatever name the supergraph has it; undefined when it has none. */
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
