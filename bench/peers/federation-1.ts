/**
 * A subgraph's part of the graph for gateways that only know Federation 1, where another subgraph's key must be `@external`.
 */
import {
  type ASTNode,
  type ConstDirectiveNode,
  Kind,
  type ObjectTypeExtensionNode,
  parse,
  print,
  valueFromASTUntyped,
  visit,
} from "graphql";

const DIRECTIVES = new Set(["key", "external", "requires", "provides", "deprecated"]);
const EXTERNAL: ConstDirectiveNode = { kind: Kind.DIRECTIVE, name: { kind: Kind.NAME, value: "external" } };

/** `api` (services/<name>/api.graphql) translated to Federation 1. */
export function toFederation1(api: string): string {
  const left: ASTNode = visit(parse(api), {
    SchemaExtension: () => null,
    DirectiveDefinition: () => null,
    Directive: (node) => (DIRECTIVES.has(node.name.value) ? undefined : null),
    // Federation 1 knows only the `fields` of `@key(fields: "id", resolvable: false)`.
    Argument: (node) => (node.name.value === "resolvable" ? null : undefined),
  });
  return print(visit(left, { ObjectTypeExtension: withExternalKeys }));
}

function withExternalKeys(extension: ObjectTypeExtensionNode): ObjectTypeExtensionNode {
  const keys = new Set(extension.directives?.filter(({ name }) => name.value === "key").flatMap(fieldsOf));
  return {
    ...extension,
    fields: (extension.fields ?? []).map((field) =>
      keys.has(field.name.value) ? { ...field, directives: [...(field.directives ?? []), EXTERNAL] } : field,
    ),
  };
}

function fieldsOf({ arguments: given = [] }: ConstDirectiveNode): string[] {
  const fields = given.find(({ name }) => name.value === "fields");
  return fields ? String(valueFromASTUntyped(fields.value)).split(/\s+/) : [];
}
