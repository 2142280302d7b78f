/** A subgraph's part of the graph for gateways that know Federation 1 alone, where a key from elsewhere must be called so. */
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

/** `api` (services/<name>/api.graphql) in the words of Federation 1. */
export function toFederation1(api: string): string {
  const left: ASTNode = visit(parse(api), {
    SchemaExtension: () => null,
    DirectiveDefinition: () => null,
    Directive: (node) => (DIRECTIVES.has(node.name.value) ? undefined : null),
    // Of `@key(fields: "id", resolvable: false)` it knows the fields.
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
