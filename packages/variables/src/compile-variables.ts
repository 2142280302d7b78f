/**
 * Coerces an operation's variables with functions that are made once. Any value that is not plainly valid is left to
 * graphql itself, which may accept it after all or reports what is wrong.
 */
import {
  getVariableValues,
  type GraphQLInputObjectType,
  type GraphQLInputType,
  type GraphQLLeafType,
  type GraphQLSchema,
  isInputObjectType,
  isInputType,
  isListType,
  isNonNullType,
  typeFromAST,
  valueFromAST,
  type VariableDefinitionNode,
} from "graphql";

type Inputs = Readonly<Record<string, unknown>>;
type Read = (value: unknown) => unknown;

/** Marks a value that graphql must judge. */
const UNCLEAR = Symbol("unclear");
/** Each error repeats a whole value, which may be as long as the request. */
const MOST_ERRORS = 5;

/** Returns the same results as `getVariableValues` for these definitions. */
export function compileVariables(
  schema: GraphQLSchema,
  definitions: readonly VariableDefinitionNode[],
): (inputs: Inputs) => ReturnType<typeof getVariableValues> {
  const objects = new Map<GraphQLInputObjectType, Read>();
  const variables = definitions.map(({ variable, type: node, defaultValue }) => {
    const type = typeFromAST(schema, node);
    const input = isInputType(type) ? type : undefined;
    const initial = defaultValue && input ? (): unknown => valueFromAST(defaultValue, input) : undefined;
    return {
      name: variable.name.value,
      read: input ? readerOf(input) : unclear,
      initial,
      isRequired: isNonNullType(type),
    };
  });

  function readerOf(type: GraphQLInputType): Read {
    if (isNonNullType(type)) {
      const read = readerOf(type.ofType);
      return (value) => (value == null ? UNCLEAR : read(value));
    }
    const read = isListType(type)
      ? readerOfList(readerOf(type.ofType))
      : isInputObjectType(type)
        ? objectOf(type)
        : leafOf(type);
    return (value) => (value == null ? null : read(value));
  }

  /** One reader per type, since types may contain themselves. */
  function objectOf(type: GraphQLInputObjectType): Read {
    const read = objects.get(type) ?? (type.isOneOf ? unclear : readerOfObject(type));
    objects.set(type, read);
    return read;
  }

  function readerOfObject(type: GraphQLInputObjectType): Read {
    const compile = () =>
      Object.values(type.getFields()).map(({ name, type: declared, defaultValue }) => ({
        name,
        defaultValue,
        isRequired: isNonNullType(declared),
        read: readerOf(declared),
      }));
    let fields: ReturnType<typeof compile> | undefined;
    return (value) => {
      if (!isObject(value)) return UNCLEAR;
      fields ??= compile();
      const coerced: Record<string, unknown> = {};
      let taken = 0;
      for (const { name, defaultValue, isRequired, read } of fields) {
        const given = value[name];
        if (given === undefined) {
          if (defaultValue !== undefined) coerced[name] = defaultValue;
          else if (isRequired) return UNCLEAR;
          continue;
        }
        const own = read(given);
        if (own === UNCLEAR) return UNCLEAR;
        coerced[name] = own;
        taken += 1;
      }
      return Object.keys(value).length === taken ? coerced : UNCLEAR;
    };
  }

  function readAll(inputs: Inputs): Record<string, unknown> | undefined {
    const coerced: Record<string, unknown> = {};
    for (const { name, read, initial, isRequired } of variables) {
      if (!Object.hasOwn(inputs, name)) {
        if (initial) coerced[name] = initial();
        else if (isRequired) return undefined;
        continue;
      }
      const own = read(inputs[name]);
      if (own === UNCLEAR) return undefined;
      coerced[name] = own;
    }
    return coerced;
  }

  return (inputs) => {
    let coerced: Record<string, unknown> | undefined;
    try {
      coerced = readAll(inputs);
    } catch {
      coerced = undefined;
    }
    return coerced ? { coerced } : getVariableValues(schema, definitions, inputs, { maxErrors: MOST_ERRORS });
  };
}

function unclear(): typeof UNCLEAR {
  return UNCLEAR;
}

function readerOfList(read: Read): Read {
  return (value) => {
    if (!Array.isArray(value)) return UNCLEAR;
    const coerced = value.map(read);
    return coerced.includes(UNCLEAR) ? UNCLEAR : coerced;
  };
}

function leafOf(type: GraphQLLeafType): Read {
  return (value) => {
    const parsed: unknown = type.parseValue(value);
    return parsed === undefined ? UNCLEAR : parsed;
  };
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
