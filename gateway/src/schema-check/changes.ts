/** How a schema differs from an earlier one, and which client documents that breaks. */
import { type Change, CriticalityLevel, diff } from "@graphql-inspector/core";
import {
  type DocumentNode,
  getNamedType,
  type GraphQLSchema,
  isCompositeType,
  isInputObjectType,
  isInterfaceType,
  isObjectType,
  parse,
  TypeInfo,
  validate,
  visit,
  visitWithTypeInfo,
} from "graphql";

export interface SchemaChange {
  /** `API` for the API schema, otherwise the subgraph's name. */
  readonly schema: string;
  readonly level: "BREAKING" | "DANGEROUS";
  /** The coordinate of what changed, such as `Type.field.argument`. */
  readonly path: string;
  readonly message: string;
  /** Names of the documents that use the changed element. */
  readonly documents: readonly string[];
}

/** A client document; `name` is human-readable. */
export interface ClientDocument {
  readonly name: string;
  readonly text: string;
}

/** Changes that break clients or may surprise them. Ignores documents that are not valid in `before`. */
export async function compareSchemas(
  schema: string,
  [before, after]: readonly [GraphQLSchema, GraphQLSchema],
  documents: readonly ClientDocument[],
): Promise<SchemaChange[]> {
  const used = usesOf(before, documents);
  const changes = await diff(before, after);
  return changes.flatMap(({ criticality, path = "", message }: Change) => {
    if (criticality.level === CriticalityLevel.NonBreaking || isForSchemas(path, before)) return [];
    const level = criticality.level === CriticalityLevel.Breaking ? "BREAKING" : "DANGEROUS";
    const touched = used.filter(({ uses }) => isTouched(path, before, uses)).map(({ name }) => name);
    return [{ schema, level, path, message, documents: touched }];
  });
}

/**
 * Whether a change affects only a directive that cannot stand in documents. (Federation's directives are named
 * differently depending on whether they are imported.)
 */
function isForSchemas(path: string, schema: GraphQLSchema): boolean {
  const directive = path.startsWith("@") ? schema.getDirective(path.slice(1).split(".")[0] ?? "") : undefined;
  return directive ? !directive.locations.some((place) => IN_DOCUMENTS.has(place)) : false;
}

const IN_DOCUMENTS: ReadonlySet<string> = new Set([
  "QUERY",
  "MUTATION",
  "SUBSCRIPTION",
  "FIELD",
  "FRAGMENT_DEFINITION",
  "FRAGMENT_SPREAD",
  "INLINE_FRAGMENT",
  "VARIABLE_DEFINITION",
]);

/** Documents that are valid in `before` but not in `after`, each as a breaking change with its first error. */
export function brokenDocuments(
  [before, after]: readonly [GraphQLSchema, GraphQLSchema],
  documents: readonly ClientDocument[],
): SchemaChange[] {
  return documents.flatMap(({ name, text }): SchemaChange[] => {
    const document = parse(text);
    const [fault] = validate(before, document).length === 0 ? validate(after, document) : [];
    return fault ? [{ schema: "API", level: "BREAKING", path: name, message: fault.message, documents: [name] }] : [];
  });
}

/** Names of types, and coordinates of fields and arguments. */
type Uses = ReadonlySet<string>;

function usesOf(schema: GraphQLSchema, documents: readonly ClientDocument[]): { name: string; uses: Uses }[] {
  return documents.flatMap(({ name, text }) => {
    const document = parse(text);
    return validate(schema, document).length === 0 ? [{ name, uses: usesIn(schema, document) }] : [];
  });
}

function usesIn(schema: GraphQLSchema, document: DocumentNode): Uses {
  const uses = new Set<string>();
  const info = new TypeInfo(schema);
  const noteInput = (name: string): void => {
    if (uses.has(name)) return;
    uses.add(name);
    const type = schema.getType(name);
    // A variable hides which input fields a client sends, so all of them count.
    if (isInputObjectType(type))
      for (const field of Object.values(type.getFields())) noteInput(getNamedType(field.type).name);
  };
  visit(
    document,
    visitWithTypeInfo(info, {
      Field({ name }) {
        const parent = info.getParentType();
        const type = info.getType();
        if (parent) uses.add(parent.name).add(`${parent.name}.${name.value}`);
        if (isInterfaceType(parent))
          for (const { name: implementing } of schema.getPossibleTypes(parent))
            uses.add(`${implementing}.${name.value}`);
        if (type) uses.add(getNamedType(type).name);
      },
      Argument({ name }) {
        const field = info.getFieldDef();
        const parent = info.getParentType();
        if (field && parent) uses.add(`${parent.name}.${field.name}.${name.value}`);
        const type = info.getInputType();
        if (type) noteInput(getNamedType(type).name);
      },
      VariableDefinition() {
        const type = info.getInputType();
        if (type) noteInput(getNamedType(type).name);
      },
      FragmentDefinition: ({ typeCondition }) => void uses.add(typeCondition.name.value),
      InlineFragment: ({ typeCondition }) => void (typeCondition && uses.add(typeCondition.name.value)),
    }),
  );
  return uses;
}

/** Objects and interfaces are matched by field; any other type (enum, input, union) as a whole. */
function isTouched(path: string, before: GraphQLSchema, uses: Uses): boolean {
  const [name = "", field, argument] = path.split(".");
  const type = before.getType(name);
  if (field === undefined || !isCompositeType(type) || !(isObjectType(type) || isInterfaceType(type)))
    return uses.has(name);
  // A new argument affects every use of its field.
  const wasThere = type.getFields()[field]?.args.some(({ name }) => name === argument) ?? false;
  return uses.has(wasThere ? path : `${name}.${field}`);
}
