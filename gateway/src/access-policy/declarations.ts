/**
 * What a supergraph declares: `@authenticated` and `@requiresScopes` of federation, and our `@requiresAuth` (RFC 9470). They
 * are found by what they link to, as a subgraph may give them names of its own.
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

/** By coordinate (`Type`, `Type.field`), where something is declared. */
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

/** Where a declaration is looked for; elsewhere it would protect nothing. */
const PLACES: readonly string[] = ["FIELD_DEFINITION", "OBJECT", "INTERFACE", "SCALAR", "ENUM"];

/** Throws SupergraphError for a declaration that would not be enforced as it is meant. */
export function readDeclarations(supergraph: Supergraph): Declarations {
  const found = new Map<string, Demand[]>();

  function read(identity: string, name: string, shape: z.ZodType<Demand>): void {
    const directive = findDirective(supergraph, identity, name);
    if (!directive) return;
    if (identity === REQUIRES_AUTH) assertMeant(directive.definition);
    for (const { coordinate, element, given } of directive.applications) {
      const demand = shape.safeParse(given);
      if (!demand.success) throw new SupergraphError(`${coordinate} @${name}: ${z.prettifyError(demand.error)}`);
      // Federation lets its own stand on objects alone, and itself puts on an interface what those declare.
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
  // Where several subgraphs declare, composition keeps one of what does not repeat.
  if (!repeatable) throw new SupergraphError(`@${name} must be defined as \`repeatable\`.`);
  const other = locations.find((location) => !PLACES.includes(location));
  if (other !== undefined)
    throw new SupergraphError(`@${name} may not be defined for ${other}: it would do nothing there.`);
}

/** Of an interface or a field of one: the same of all that implement it. */
function implementationsOf(element: object): string[] {
  if (element instanceof InterfaceType) return element.allImplementations().map(({ name }) => name);
  if (!(element instanceof FieldDefinition)) return [];
  const field = element.name;
  return implementationsOf(element.parent).map((type) => `${type}.${field}`);
}
