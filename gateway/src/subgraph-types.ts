/** The types of one subgraph: `type Query` and every `extend type Query` in its files merged into one node. */
import {
  type ASTNode,
  type DocumentNode,
  isTypeDefinitionNode,
  isTypeExtensionNode,
  Kind,
  print,
  type TypeDefinitionNode,
  type TypeExtensionNode,
} from "graphql";

/** A type of one subgraph; an extension if the subgraph only extends it. */
export type SubgraphType = TypeDefinitionNode | TypeExtensionNode;

const PARTS = ["directives", "interfaces", "fields", "values", "types"] as const;

/** The types by name, in alphabetical order. Each part keeps its source location. */
export function typesOf({ definitions }: DocumentNode): ReadonlyMap<string, SubgraphType> {
  const nodes = definitions.filter((node) => isTypeDefinitionNode(node) || isTypeExtensionNode(node));
  const byName = [...Map.groupBy(nodes, ({ name }) => name.value)].sort(([one], [other]) => (one < other ? -1 : 1));
  return new Map(
    byName.flatMap(([name, said]) => {
      const base = said.find(isTypeDefinitionNode) ?? said[0];
      return base ? [[name, { ...base, ...Object.fromEntries(PARTS.map((part) => [part, partOf(said, part)])) }]] : [];
    }),
  );
}

/** A subgraph's API as text: the same for the same types, regardless of files and order. */
export function printApi(typeDefs: DocumentNode): string {
  const others = typeDefs.definitions.filter((node) => !isTypeDefinitionNode(node) && !isTypeExtensionNode(node));
  return print({ kind: Kind.DOCUMENT, definitions: [...others, ...typesOf(typeDefs).values()] });
}

function partOf(nodes: readonly SubgraphType[], part: (typeof PARTS)[number]): readonly ASTNode[] {
  return nodes.flatMap((node): readonly ASTNode[] => Reflect.get(node, part) ?? []);
}
