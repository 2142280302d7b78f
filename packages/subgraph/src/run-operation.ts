/** Runs operations: each text is read and judged once, and what comes again and again is compiled to functions. */
import { ApolloServerErrorCode } from "@apollo/server/errors";
import {
  type DocumentNode,
  execute,
  type ExecutionResult,
  getOperationAST,
  GraphQLError,
  type GraphQLFormattedError,
  type GraphQLSchema,
  Kind,
  NoSchemaIntrospectionCustomRule,
  type OperationDefinitionNode,
  parse,
  specifiedRules,
  validate,
  type VariableDefinitionNode,
  visit,
} from "graphql";
import { compileQuery, isCompiledQuery } from "graphql-jit";
import { LRUCache } from "lru-cache";
import type { SubgraphContext } from "./context.ts";
import { formatError } from "./format-error.ts";
import { logErrors } from "./observe-operation.ts";
import { compileVariables } from "@continuo/variables";

export interface OperationRequest {
  readonly query: string;
  readonly variables?: Record<string, unknown> | undefined;
  readonly operationName?: string | undefined;
}

export interface OperationAnswer {
  readonly data?: Record<string, unknown> | null;
  readonly errors?: readonly GraphQLFormattedError[];
}

/** Never rejects: what is wrong is in the answer. Logs bugs. */
export type RunOperation<Context> = (request: OperationRequest, contextValue: Context) => Promise<OperationAnswer>;

type Run = (
  contextValue: unknown,
  variables: OperationRequest["variables"],
) => ExecutionResult | Promise<ExecutionResult>;

/** Nothing was run, as the request is at fault. */
export interface Fault {
  readonly fault: ApolloServerErrorCode;
  readonly errors: readonly GraphQLError[];
}

const TEXTS = 1_000;
const CHARACTERS = 4 * 1024 * 1024;
const RULES = [...specifiedRules, NoSchemaIntrospectionCustomRule];
/** Compiling costs as much as some dozens of runs: what comes once or twice is interpreted. */
const COMPILED_FROM = 3;

/** Remembers the latest 1,000 texts. */
export function createRunOperation<Context extends SubgraphContext>(schema: GraphQLSchema): RunOperation<Context> {
  const known = new LRUCache<string, Map<string | undefined, Run | Fault>>({
    max: TEXTS,
    maxSize: CHARACTERS,
    sizeCalculation: (_runs, text) => text.length + 1,
  });

  function prepare({ query, operationName }: OperationRequest): Run | Fault {
    const operations = known.get(query) ?? new Map<string | undefined, Run | Fault>();
    const prepared = operations.get(operationName) ?? read(query, operationName);
    if (operations.size === 0) known.set(query, operations);
    operations.set(operationName, prepared);
    return prepared;
  }

  function read(query: string, operationName: string | undefined): Run | Fault {
    const read = readOperation(schema, { query, operationName });
    return "fault" in read ? read : createRun(schema, read.document, operationName);
  }

  async function answer(request: OperationRequest, contextValue: Context): Promise<ExecutionResult | Fault> {
    const run = prepare(request);
    if (typeof run !== "function") return run;
    const result = await run(contextValue, request.variables);
    if (result.data !== undefined) return result;
    return { errors: result.errors ?? [], fault: ApolloServerErrorCode.BAD_USER_INPUT };
  }

  return async (request, contextValue) => {
    const outcome = await answer(request, contextValue);
    if (outcome.errors) logErrors(outcome.errors, contextValue);
    if ("fault" in outcome) return { errors: formatFault(outcome) };
    const { data = null, errors } = outcome;
    return errors ? { data, errors: errors.map((error) => formatError(error.toJSON(), error)) } : { data };
  };
}

/** What is wrong with a request, as it leaves the subgraph. */
export function formatFault({ fault, errors }: Fault): GraphQLFormattedError[] {
  const extensions = { code: fault };
  return errors.map((error) => formatError({ ...error.toJSON(), extensions }, error));
}

/** Parses and validates an operation. */
export function readOperation(
  schema: GraphQLSchema,
  { query, operationName }: Pick<OperationRequest, "query" | "operationName">,
): { readonly document: DocumentNode; readonly operation: OperationDefinitionNode } | Fault {
  try {
    const document = parse(query);
    const errors = validate(schema, document, RULES);
    if (errors.length > 0) return { errors, fault: ApolloServerErrorCode.GRAPHQL_VALIDATION_FAILED };
    const operation = getOperationAST(document, operationName);
    if (operation) return { document, operation };
    const unknown = new GraphQLError(`Unknown operation named "${operationName ?? ""}".`);
    return { errors: [unknown], fault: ApolloServerErrorCode.OPERATION_RESOLUTION_FAILURE };
  } catch (cause) {
    if (!(cause instanceof GraphQLError)) throw cause;
    return { errors: [cause], fault: ApolloServerErrorCode.GRAPHQL_PARSE_FAILED };
  }
}

function createRun(schema: GraphQLSchema, document: DocumentNode, operationName: string | undefined): Run {
  const interpret: Run = (contextValue, variableValues) =>
    execute({ schema, document, operationName, contextValue, variableValues });
  let run = interpret;
  let runs = 0;
  return (contextValue, variables) => {
    runs += 1;
    if (runs === COMPILED_FROM) run = compile(schema, document, operationName) ?? interpret;
    return run(contextValue, variables);
  };
}

/**
 * Undefined when the compiler does not know what is in it. Variables are read as graphql does and reach the compiled
 * function as they are: the compiler would read defaults in its own way, and input types within themselves without end.
 */
function compile(schema: GraphQLSchema, document: DocumentNode, operationName: string | undefined): Run | undefined {
  const definitions = getOperationAST(document, operationName)?.variableDefinitions ?? [];
  if (definitions.length > 0 && !schema.getType(ANY)) return undefined;
  const compiled = compileQuery(schema, visit(document, { VariableDefinition: asAny }), operationName);
  if (!isCompiledQuery(compiled)) return undefined;
  const readVariables = compileVariables(schema, definitions);
  return (contextValue, variables = {}) => {
    const { coerced, errors } = readVariables(variables);
    return errors ? { errors } : compiled.query(undefined, contextValue, coerced);
  };
}

/** The scalar of representations, which takes any value as it is. */
const ANY = "_Any";

function asAny({ kind, variable }: VariableDefinitionNode): VariableDefinitionNode {
  return { kind, variable, type: { kind: Kind.NAMED_TYPE, name: { kind: Kind.NAME, value: ANY } } };
}
