/** One fetch of a plan: calls a subgraph, and merges its data and errors into all the places they belong to. */
import type { FetchNode } from "@apollo/query-planner";
import { GraphQLError, type GraphQLSchema, isAbstractType, OperationTypeNode } from "graphql";
import type { GatewayContext } from "../context.ts";
import type { DataSource } from "../subgraph/data-source.ts";
import { isRecord, MOST_ERRORS, type SubgraphError, UNAVAILABLE, UNEXPECTED } from "../subgraph/subgraph-error.ts";
import { type Data, merge, read } from "./data.ts";
import { keysOf, type Place } from "./place.ts";
import { compileRepresentation } from "./representation.ts";
import { compileRewrites } from "./rewrite.ts";
import { compileWait } from "./wait.ts";

/** One run of an operation. */
export interface Execution {
  /** As the client sent them. */
  readonly variables: Readonly<Data>;
  readonly context: GatewayContext;
  /** Grows while the plan runs. */
  readonly errors: GraphQLError[];
}

/** A compiled part of a plan: completes the objects at `places`. Never rejects. */
export type Step = (execution: Execution, places: readonly Place[]) => Promise<void>;

/** Throws if there is no source for the subgraph, or the fetch uses `@fromContext`, which is not supported. */
export function compileFetch(
  node: FetchNode,
  sources: ReadonlyMap<string, DataSource>,
  supergraph: GraphQLSchema,
): Step {
  const source = sourceOf(node, sources);
  if (node.contextRewrites) throw new Error("a plan uses @fromContext, which is not supported");
  const { operation: query, operationName, variableUsages = [] } = node;
  const rewriteInput = compileRewrites(node.inputRewrites, supergraph);
  const rewriteOutput = compileRewrites(node.outputRewrites, supergraph);
  const isMutation = node.operationKind === OperationTypeNode.MUTATION;
  const waitOf = compileWait(query);
  const represent = node.requires && compileRepresentation(node.requires, supergraph);

  function pickVariables(from: Readonly<Data>): Data {
    const picked: Data = {};
    for (const name of variableUsages) {
      const value = read(from, name);
      if (value !== undefined) picked[name] = value;
    }
    return picked;
  }

  async function fetchFields(execution: Execution, places: readonly Place[]): Promise<void> {
    const variables = pickVariables(execution.variables);
    const waitMs = waitOf(variables);
    const { data, errors } = await source({ query, operationName, variables, waitMs }, execution.context);
    for (const error of errors) report(execution, error, places, error.path);
    if (data === null) return;
    rewriteOutput?.(data);
    spread(data, places);
  }

  async function fetchEntities(
    { representations, holders }: Represented,
    execution: Execution,
    places: readonly Place[],
  ): Promise<void> {
    const variables = { ...pickVariables(execution.variables), representations };
    const { data, errors } = await source({ query, operationName, variables, waitMs: 0 }, execution.context);
    for (const error of errors) {
      const [, index, ...rest] = error.path ?? [];
      const owners = typeof index === "number" ? holders[index] : undefined;
      if (owners) report(execution, error, owners, rest);
      else report(execution, error, places, []);
    }
    if (data === null) return;
    const entities = data["_entities"];
    if (!Array.isArray(entities) || entities.length !== representations.length)
      throw new Error(`${node.serviceName} did not answer with one entity for each representation`);
    for (const [index, owners] of holders.entries()) {
      const entity: unknown = entities[index];
      if (!isRecord(entity)) continue;
      if (rewriteOutput) {
        entity["__typename"] ??= owners[0]?.object["__typename"];
        rewriteOutput(entity);
      }
      // A subgraph that knows only the interface must not overwrite the concrete type from another.
      if (isAbstractType(supergraph.getType(String(entity["__typename"])))) entity["__typename"] = undefined;
      spread(entity, owners);
    }
  }

  return async (execution, places) => {
    const represented = represent && representAll(places, represent, rewriteInput);
    const { length } = represented?.representations ?? places;
    if (length === 0) return;
    // A mutation is carried out even if the client no longer waits for the answer.
    if (!isMutation && execution.context.signal?.aborted) return report(execution, UNAVAILABLE, places, []);
    try {
      await (represented ? fetchEntities(represented, execution, places) : fetchFields(execution, places));
    } catch (cause) {
      const { logger, requestId } = execution.context;
      logger.error({ err: cause, requestId, subgraph: node.serviceName }, "a fetch failed");
      report(execution, UNEXPECTED, places, []);
    }
  };
}

function sourceOf({ serviceName }: FetchNode, sources: ReadonlyMap<string, DataSource>): DataSource {
  const source = sources.get(serviceName);
  if (!source) throw new Error(`no subgraph "${serviceName}"`);
  return source;
}

/** Records a subgraph's error at `path` below each of `places`. */
function report(
  { errors }: Execution,
  error: SubgraphError,
  places: readonly Place[],
  path: SubgraphError["path"] = [],
): void {
  for (const place of places.slice(0, Math.max(0, MOST_ERRORS - errors.length)))
    errors.push(toGraphQLError(error, [...keysOf(place), ...path]));
}

/** A subgraph's error as a GraphQLError, at `path` of the client's operation. */
export function toGraphQLError({ message, extensions }: SubgraphError, path: SubgraphError["path"] = []): GraphQLError {
  return new GraphQLError(message, { ...(path.length > 0 && { path }), extensions: { ...extensions } });
}

/** Places with the same representation may share the fetched objects: later fetches give all of them the same data. */
function spread(data: Readonly<Data>, places: readonly Place[]): void {
  for (const { object } of places) merge(object, data);
}

interface Represented {
  readonly representations: readonly Data[];
  /** The places that each representation stands for. */
  readonly holders: readonly Place[][];
}

/** Equal representations are sent once. */
function representAll(
  places: readonly Place[],
  represent: (object: Readonly<Data>) => Data | undefined,
  rewrite: ((object: Data) => void) | undefined,
): Represented {
  const representations: Data[] = [];
  const holders: Place[][] = [];
  const known = new Map<string, Place[]>();
  for (const place of places) {
    const representation = represent(place.object);
    if (!representation) continue;
    rewrite?.(representation);
    const text = JSON.stringify(representation);
    const others = known.get(text);
    if (others) {
      others.push(place);
      continue;
    }
    const own = [place];
    known.set(text, own);
    representations.push(representation);
    holders.push(own);
  }
  return { representations, holders };
}
