/** Runs operations: each text is parsed and validated once, and operations that recur are compiled to functions. */
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
  OperationTypeNode,
  parse,
  specifiedRules,
  validate,
  type VariableDefinitionNode,
  visit,
} from "graphql";
import { compileQuery, isCompiledQuery } from "graphql-jit";
import { LRUCache } from "lru-cache";
import type { SubgraphContext } from "./context.ts";
import { type FaultReason, formatError, formatFault } from "./format-error.ts";
import { logErrors } from "./observe-operation.ts";
import { compileVariables } from "@continuo/variables";

export interface OperationRequest {
  readonly query: string;
  readonly variables?: Record<string, unknown> | null | undefined;
  readonly operationName?: string | null | undefined;
}

export interface OperationAnswer {
  readonly errors?: readonly GraphQLFormattedError[];
  readonly data?: Record<string, unknown> | null;
}

/** Never rejects: errors are part of the answer. Logs bugs. */
export type RunOperation<Context> = (request: OperationRequest, contextValue: Context) => Promise<OperationAnswer>;

type Name = OperationRequest["operationName"];
type Run = (
  contextValue: unknown,
  variables: OperationRequest["variables"],
) => ExecutionResult | Promise<ExecutionResult>;

/** The request is at fault, and nothing was run. */
export interface Fault {
  readonly fault: FaultReason;
  readonly errors: readonly GraphQLError[];
}

const TEXTS = 1_000;
const CHARACTERS = 4 * 1024 * 1024;
const RULES = [...specifiedRules, NoSchemaIntrospectionCustomRule];
/** Compiling costs as much as some dozens of runs, so the first runs are interpreted. */
const COMPILED_FROM = 3;

/** Runs operations of `schema`, and remembers the latest 1,000 texts. */
export function createRunOperation<Context extends SubgraphContext>(schema: GraphQLSchema): RunOperation<Context> {
  const known = new LRUCache<string, Map<Name, Run | Fault>>({
    max: TEXTS,
    maxSize: CHARACTERS,
    sizeCalculation: (_runs, text) => text.length + 1,
  });

  function prepare({ query, operationName }: OperationRequest): Run | Fault {
    const operations = known.get(query) ?? new Map<Name, Run | Fault>();
    const prepared = operations.get(operationName) ?? read(query, operationName);
    if (operations.size === 0) known.set(query, operations);
    operations.set(operationName, prepared);
    return prepared;
  }

  function read(query: string, operationName: Name): Run | Fault {
    const read = readOperation(schema, { query, operationName });
    if ("fault" in read) return read;
    if (read.operation.operation !== OperationTypeNode.SUBSCRIPTION)
      return createRun(schema, read.document, operationName);
    const refused = new GraphQLError("Subscriptions are served by the gateway.");
    return { errors: [refused], fault: "SUBSCRIPTION_AT_GATEWAY" };
  }

  async function answer(request: OperationRequest, contextValue: Context): Promise<ExecutionResult | Fault> {
    const run = prepare(request);
    if (typeof run !== "function") return run;
    const result = await run(contextValue, request.variables);
    if (result.data !== undefined) return result;
    return { errors: result.errors ?? [], fault: "VARIABLES_INVALID" };
  }

  return async (request, contextValue) => {
    const outcome = await answer(request, contextValue);
    if (outcome.errors) logErrors(outcome.errors, contextValue);
    if ("fault" in outcome) return { errors: formatFaults(outcome) };
    const { data = null, errors } = outcome;
    return errors ? { errors: errors.map(formatError), data } : { data };
  };
}

/** Formats a request's errors as they leave the subgraph. */
export function formatFaults({ fault, errors }: Fault): GraphQLFormattedError[] {
  return errors.map((error) => formatFault(error, fault));
}

/** Parses and validates an operation. */
export function readOperation(
  schema: GraphQLSchema,
  { query, operationName }: Pick<OperationRequest, "query" | "operationName">,
): { readonly document: DocumentNode; readonly operation: OperationDefinitionNode } | Fault {
  try {
    const document = parse(query);
    const errors = validate(schema, document, RULES);
    if (errors.length > 0) return { errors, fault: "DOCUMENT_INVALID" };
    const operation = getOperationAST(document, operationName);
    if (operation) return { document, operation };
    const unknown = new GraphQLError(`Unknown operation named "${operationName ?? ""}".`);
    return { errors: [unknown], fault: "OPERATION_UNKNOWN" };
  } catch (cause) {
    if (!(cause instanceof GraphQLError)) throw cause;
    return { errors: [cause], fault: "DOCUMENT_INVALID" };
  }
}

function createRun(schema: GraphQLSchema, document: DocumentNode, operationName: Name): Run {
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
 * Undefined when the compiler does not support the document. Variables are coerced as graphql does, and the compiled
 * function takes them as they are: the compiler would handle defaults differently, and recurse without end into input
 * types that contain themselves.
 */
function compile(schema: GraphQLSchema, document: DocumentNode, operationName: Name): Run | undefined {
  const definitions = getOperationAST(document, operationName)?.variableDefinitions ?? [];
  if (definitions.length > 0 && !schema.getType(ANY)) return undefined;
  const compiled = compileQuery(schema, visit(document, { VariableDefinition: asAny }), operationName ?? undefined);
  if (!isCompiledQuery(compiled)) return undefined;
  const readVariables = compileVariables(schema, definitions);
  return (contextValue, variables) => {
    const { coerced, errors } = readVariables(variables ?? {});
    return errors ? { errors } : compiled.query(undefined, contextValue, coerced);
  };
}

/** The scalar of entity representations, which accepts any value unchanged. */
const ANY = "_Any";

function asAny({ kind, variable }: VariableDefinitionNode): VariableDefinitionNode {
  return { kind, variable, type: { kind: Kind.NAMED_TYPE, name: { kind: Kind.NAME, value: ANY } } };
}
