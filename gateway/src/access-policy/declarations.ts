/**
 * The access declarations of a supergraph: federation's `@authenticated` and `@requiresScopes`, and our `@requiresAuth`
 * (RFC 9470). Directives are identified by their `@link`, because a subgraph may rename them.
 */
import {
  type DirectiveDefinition,
  FieldDefinition,
  InterfaceType,
  type Supergraph,
} from "@apollo/federation-internals";
import { Acr } from "@continuo/access";
import { z } from "zod";
import { AUTHENTICATED, findDirective, REQUIRES_AUTH, REQUIRES_SCOPES, SupergraphError } from "../graph/supergraph.ts";
import { type Demand, SIGNED_IN, strictest } from "./demand.ts";

/** Demands by the coordinate (`Type`, `Type.field`) that declares them. */
export type Declarations = ReadonlyMap<string, Demand>;

const Authenticated = z.object({}).transform(() => SIGNED_IN);
const RequiresScopes = z
  .object({ scopes: z.array(z.array(z.string().min(1)).min(1)).min(1) })
  .transform(({ scopes }): Demand => ({ ...SIGNED_IN, scopes: [scopes] }));
const RequiresAuth = z
  .object({ acr: Acr.nullish(), maxAge: z.int().nonnegative().nullish(), recent: z.boolean().nullish() })
  .transform(({ acr, maxAge, recent }): Demand => ({
    scopes: [],
    acr: acr ?? undefined,
    maxAge: maxAge ?? undefined,
    isRecent: recent ?? false,
  }));

/** The locations where declarations are read; anywhere else one would protect nothing. */
const PLACES: readonly string[] = ["FIELD_DEFINITION", "OBJECT", "INTERFACE", "SCALAR", "ENUM"];

/** Throws SupergraphError for a declaration that would not be enforced as intended. */
export function readDeclarations(supergraph: Supergraph): Declarations {
  const found = new Map<string, Demand[]>();

  function read(identity: string, name: string, shape: z.ZodType<Demand>): void {
    const directive = findDirective(supergraph, identity, name);
    if (!directive) return;
    if (identity === REQUIRES_AUTH) assertMeant(directive.definition);
    for (const { coordinate, element, given } of directive.applications) {
      const demand = shape.safeParse(given);
      if (!demand.success) throw new SupergraphError(`${coordinate} @${name}: ${z.prettifyError(demand.error)}`);
      // Federation allows its own directives on objects only, and copies them to the interfaces that the objects
      // implement. Ours on an interface is copied to each implementation here.
      const others = identity === REQUIRES_AUTH ? implementationsOf(element) : [];
      for (const place of [coordinate, ...others]) found.set(place, [...(found.get(place) ?? []), demand.data]);
    }
  }

  read(AUTHENTICATED, "authenticated", Authenticated);
  read(REQUIRES_SCOPES, "requiresScopes", RequiresScopes);
  read(REQUIRES_AUTH, "requiresAuth", RequiresAuth);
  return new Map([...found].map(([coordinate, demands]) => [coordinate, strictest(demands) ?? SIGNED_IN]));
}

function assertMeant({ name, repeatable, locations }: DirectiveDefinition): void {
  // When several subgraphs apply a directive that is not repeatable, composition keeps only one application.
  if (!repeatable) throw new SupergraphError(`@${name} must be defined as \`repeatable\`.`);
  const other = locations.find((location) => !PLACES.includes(location));
  if (other !== undefined)
    throw new SupergraphError(`@${name} may not be defined for ${other}: it would do nothing there.`);
}

/** For an interface or a field of one: the coordinates of the same element in every implementation. */
function implementationsOf(element: object): string[] {
  if (element instanceof InterfaceType) return element.allImplementations().map(({ name }) => name);
  if (!(element instanceof FieldDefinition)) return [];
  const field = element.name;
  return implementationsOf(element.parent).map((type) => `${type}.${field}`);
}
