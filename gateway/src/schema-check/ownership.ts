/**
 * Which subgraph owns a type, and what the others may do to it. The subgraph that writes `type` owns an entity; others
 * write `extend type`, refer to it by one of the owner's keys, add fields of their own, and nothing else. A type
 * without a key must be identical in every subgraph that has it, so that nobody changes it alone.
 */
import {
  type ASTNode,
  type ConstDirectiveNode,
  isTypeDefinitionNode,
  Kind,
  print,
  visit,
  type FieldDefinitionNode,
  type InputValueDefinitionNode,
} from "graphql";
import { type Fault, placesOf, type SubgraphDefinition } from "../compose.ts";
import { type SubgraphType, typesOf } from "../subgraph-types.ts";

interface Declaration {
  readonly subgraph: string;
  readonly type: SubgraphType;
}

const ROOTS = new Set(["Query", "Mutation", "Subscription"]);

/** The owning subgraph of each entity, by the entity's name. */
export function ownersOf(subgraphs: readonly SubgraphDefinition[]): ReadonlyMap<string, string> {
  return new Map(
    [...declarationsOf(subgraphs)].flatMap(([name, declarations]) => {
      const [owner, ...others] = declarations.filter(({ type }) => isTypeDefinitionNode(type));
      return owner && others.length === 0 && isEntity(declarations) ? [[name, owner.subgraph]] : [];
    }),
  );
}

/** Faults where a subgraph does more to a type than its owner allows. */
export function findTrespasses(subgraphs: readonly SubgraphDefinition[]): Fault[] {
  return [...declarationsOf(subgraphs)].flatMap(([name, declarations]) =>
    isEntity(declarations) ? trespassesOnEntity(name, declarations) : differencesOf(name, declarations),
  );
}

function trespassesOnEntity(name: string, declarations: readonly Declaration[]): Fault[] {
  const owners = declarations.filter(({ type }) => isTypeDefinitionNode(type));
  const [own] = owners;
  if (!own || owners.length > 1)
    return [
      {
        code: "OWNER_UNKNOWN",
        message: `${name} is to have one owner, and is defined by ${subgraphsOf(owners) || "nobody"}.`,
        places: declarations.flatMap(({ type }) => placesOf(type)),
        fix: `write "type ${name}" in the subgraph that owns it, and "extend type ${name}" in the others`,
      },
    ];
  return declarations.filter((other) => other !== own).flatMap((other) => trespassesOf(name, other, own));
}

function trespassesOf(name: string, other: Declaration, own: Declaration): Fault[] {
  const owner = own.subgraph;
  const fault = (what: string, node: ASTNode, fix: string): Fault => ({
    code: "NOT_THE_OWNER",
    message: `${other.subgraph} ${what}, and ${owner} owns ${name}.`,
    places: placesOf(node),
    fix,
  });
  const keys = new Set(directivesNamed(own.type, "key").map(fieldsOfKey));
  const interfaces = new Set(interfacesOf(own.type).map(print));
  const fields = new Map(fieldsOf(own.type).map((field) => [field.name.value, field]));

  return [
    ...directivesNamed(other.type, "inaccessible").map((node) =>
      fault(`hides ${name}`, node, `leave @inaccessible to ${owner}`),
    ),
    ...interfacesOf(other.type)
      .filter((node) => !interfaces.has(print(node)))
      .map((node) => fault(`has ${name} implement ${node.name.value}`, node, `let ${owner} implement it`)),
    ...directivesNamed(other.type, "key")
      .filter((key) => !keys.has(fieldsOfKey(key)))
      .map((key) => fault(`refers to ${name} by the key "${fieldsOfKey(key)}"`, key, `use a key of ${owner}'s`)),
    ...fieldsOf(other.type).flatMap((field) => {
      const theirs = fields.get(field.name.value);
      const path = `${name}.${field.name.value}`;
      if (!theirs) return [];
      if (shapeOf(field) !== shapeOf(theirs))
        return [fault(`declares ${path} otherwise`, field, `declare it as ${owner} does: ${shapeOf(theirs)}`)];
      if (directivesNamed(field, "inaccessible").length > 0)
        return [fault(`hides ${path}`, field, `leave @inaccessible to ${owner}`)];
      const consent = `moves-to/${other.subgraph}`;
      const consents = directivesNamed(theirs, "tag").map((tag) => valueOf(tag, "name"));
      return directivesNamed(field, "override").length > 0 && !consents.includes(consent)
        ? [fault(`takes ${path} over`, field, `let ${owner} agree by @tag(name: "${consent}") on its field`)]
        : [];
    }),
  ];
}

function differencesOf(name: string, declarations: readonly Declaration[]): Fault[] {
  const texts = new Set(declarations.map(({ type }) => textOf(type)));
  if (texts.size <= 1) return [];
  return [
    {
      code: "COPIES_DIFFER",
      message: `${name} has no key and is not the same in ${subgraphsOf(declarations)}.`,
      places: declarations.flatMap(({ type }) => placesOf(type)),
      fix: "declare the same in each, or give each a type of its own",
    },
  ];
}

/** The declarations of each type. Excludes root types and scalars, which belong to every subgraph. */
function declarationsOf(subgraphs: readonly SubgraphDefinition[]): ReadonlyMap<string, readonly Declaration[]> {
  const all = subgraphs.flatMap(({ name: subgraph, typeDefs }) =>
    [...typesOf(typeDefs)].map(([name, type]) => ({ name, subgraph, type })),
  );
  return Map.groupBy(
    all.filter(({ name, type }) => !ROOTS.has(name) && type.kind !== Kind.SCALAR_TYPE_DEFINITION),
    ({ name }) => name,
  );
}

function isEntity(declarations: readonly Declaration[]): boolean {
  return declarations.some(({ type }) => directivesNamed(type, "key").length > 0);
}

function subgraphsOf(declarations: readonly Declaration[]): string {
  return declarations.map(({ subgraph }) => subgraph).join(" and ");
}

function fieldsOf(type: SubgraphType): readonly (FieldDefinitionNode | InputValueDefinitionNode)[] {
  return "fields" in type ? (type.fields ?? []) : [];
}

function interfacesOf(type: SubgraphType) {
  return "interfaces" in type ? (type.interfaces ?? []) : [];
}

/** Matches a directive by its imported name or its namespaced one. */
function directivesNamed({ directives = [] }: { readonly directives?: readonly ConstDirectiveNode[] }, name: string) {
  return directives.filter((node) => node.name.value === name || node.name.value === `federation__${name}`);
}

function fieldsOfKey(key: ConstDirectiveNode): string {
  return String(valueOf(key, "fields")).replaceAll(/\s+/g, " ").trim();
}

function valueOf({ arguments: given = [] }: ConstDirectiveNode, name: string): string | undefined {
  const value = given.find((argument) => argument.name.value === name)?.value;
  return value?.kind === Kind.STRING ? value.value : undefined;
}

/** A field's name, arguments and type as text. */
function shapeOf(field: ASTNode): string {
  return print(visit(field, { StringValue: leaveOutDescription, Directive: () => null }));
}

/** The type as text, ignoring descriptions and the order of members. */
function textOf(type: SubgraphType): string {
  return print(visit(type, { StringValue: leaveOutDescription }))
    .split("\n")
    .sort()
    .join("\n");
}

function leaveOutDescription(_node: ASTNode, key: string | number | undefined): null | undefined {
  return key === "description" ? null : undefined;
}
