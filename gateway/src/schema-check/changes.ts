/** How a schema differs from an earlier one, and which documents of clients that breaks. */
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
  /** `API` for what clients see, else a subgraph. */
  readonly schema: string;
  readonly level: "BREAKING" | "DANGEROUS";
  /** Coordinate of what changed, such as `Type.field.argument`. */
  readonly path: string;
  readonly message: string;
  /** Names of the documents that use it. */
  readonly documents: readonly string[];
}

/** A document of clients; `name` is what people know it by. */
export interface ClientDocument {
  readonly name: string;
  readonly text: string;
}

/** Changes that break clients or may surprise them. Documents that are not valid in `before` are nobody's. */
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

/** Whether it concerns a directive that no document can have. (What is imported from federation has another name than what is not.) */
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

/** Documents that were valid in `before` and are not in `after`, as changes of themselves, each with the first reason. */
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

/** Types, and fields and arguments as coordinates. */
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
    // A variable hides which of its fields a client sends: it may be any.
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

/** Of an object what is used is said by field; of other types (enums, inputs, unions) the whole is. */
function isTouched(path: string, before: GraphQLSchema, uses: Uses): boolean {
  const [name = "", field, argument] = path.split(".");
  const type = before.getType(name);
  if (field === undefined || !isCompositeType(type) || !(isObjectType(type) || isInterfaceType(type)))
    return uses.has(name);
  // An argument that was not there before concerns whoever asks for its field.
  const wasThere = type.getFields()[field]?.args.some(({ name }) => name === argument) ?? false;
  return uses.has(wasThere ? path : `${name}.${field}`);
}
