/**
 * The graph by @apollo/gateway and its query planner. The gateway plans subscriptions and refuses to run them; here the
 * plan's first fetch is answered by an event and the gateway's own executor does the rest.
 */
// oxlint-disable-next-line import/no-unassigned-import -- it must run before the gateway is there
import "./no-telemetry.ts";
import { operationFromDocument, Supergraph } from "@apollo/federation-internals";
import { ApolloGateway, buildOperationContext, executeQueryPlan, type ServiceMap } from "@apollo/gateway";
import { type FetchNode, type PlanNode, type QueryPlan, QueryPlanner } from "@apollo/query-planner";
import type { Logger } from "@continuo/process";
import { type DocumentNode, GraphQLError } from "graphql";
import { createDataSource } from "../subgraph/data-source.ts";
import type { SubgraphClient } from "../subgraph/subgraph-client.ts";
import { UNEXPECTED } from "../subgraph/subgraph-error.ts";
import { apolloLogger } from "./apollo-logger.ts";
import type { Graph, SourceEvent, SubscriptionPlan } from "./graph.ts";

type ExecutionContext = Parameters<typeof executeQueryPlan>[2];
type GatewayResult = Awaited<ReturnType<typeof executeQueryPlan>>;

/** The graph of `supergraphSdl`, over one client per subgraph in it. Throws when a subgraph has no client. */
export function createApolloGraph(options: {
  supergraphSdl: string;
  clients: ReadonlyMap<string, SubgraphClient>;
  logger: Logger;
}): Graph {
  const { supergraphSdl, clients } = options;
  const logger = apolloLogger(options.logger);
  const supergraph = Supergraph.build(supergraphSdl, { validateSupergraph: false });
  const services: ServiceMap = Object.fromEntries(
    supergraph.subgraphsMetadata().map(({ name }) => {
      const client = clients.get(name);
      if (!client) throw new Error(`the supergraph has a subgraph "${name}", and nothing says where it is`);
      return [name, createDataSource(client)];
    }),
  );
  const apollo = new ApolloGateway({
    supergraphSdl,
    buildService: ({ name }) => {
      const service = services[name];
      if (!service) throw new Error(`no subgraph "${name}"`);
      return service;
    },
    logger,
    validateSupergraph: false,
    __exposeQueryPlanExperimental: false,
  });
  const apiSchema = supergraph.apiSchema();
  const supergraphSchema = supergraph.schema.toGraphQLJSSchema();
  const schema = apiSchema.toGraphQLJSSchema();
  const planner = new QueryPlanner(supergraph);

  function planSubscription(document: DocumentNode, operationName: string | undefined): SubscriptionPlan {
    const named = operationName === undefined ? {} : { operationName };
    const { node } = planner.buildQueryPlan(operationFromDocument(apiSchema, document, named));
    if (node?.kind !== "Subscription") throw new GraphQLError("This subscription cannot be planned.");
    const { primary, rest } = node;
    const plan: QueryPlan = { kind: "QueryPlan", node: { kind: "Sequence", nodes: [primary, ...sequence(rest)] } };
    const operation = buildOperationContext({ schema, operationDocument: document, ...named });

    return {
      source: { subgraph: primary.serviceName, operation: primary.operation, operationName: primary.operationName },
      async complete(event, variables, context) {
        const request: Pick<ExecutionContext, "request" | "context" | "metrics" | "logger"> = {
          request: { variables: { ...variables } },
          context,
          metrics: {}, // written to when a fetch fails
          logger,
        };
        const answered = withAnswer(services, primary, event);
        return withCompletionErrors(
          await executeQueryPlan(plan, answered, asWhole(request), operation, supergraphSchema, apiSchema),
        );
      },
    };
  }

  function withCompletionErrors(result: GatewayResult): GatewayResult {
    const missing: unknown = result.extensions?.["valueCompletion"];
    if (!Array.isArray(missing)) return result;
    // A subgraph answered null where its schema promises a value, without an error. The executor hides that in extensions.
    options.logger.error({ missing }, "a subgraph broke its schema");
    return {
      data: result.data ?? null,
      errors: missing.map(
        (fault: unknown) =>
          new GraphQLError(UNEXPECTED.message, { ...pathOf(fault), extensions: UNEXPECTED.extensions }),
      ),
    };
  }

  return {
    schema,
    planSubscription,
    gateway: {
      onSchemaLoadOrUpdate: (callback) => apollo.onSchemaLoadOrUpdate(callback),
      stop: () => apollo.stop(),
      async load(loadOptions) {
        const { executor } = await apollo.load(loadOptions);
        return { executor: async (request) => withCompletionErrors(await executor(request)) };
      },
    },
  };
}

/** The executor's type asks for everything that an HTTP request brings; it uses no more than this. */
function asWhole(request: Pick<ExecutionContext, "request" | "context" | "metrics" | "logger">): ExecutionContext {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return request as ExecutionContext;
}

function sequence(rest: PlanNode | undefined): PlanNode[] {
  if (rest === undefined) return [];
  return rest.kind === "Sequence" ? rest.nodes : [rest];
}

/** The services, where the first asking of `primary` gets the event. */
function withAnswer(services: ServiceMap, primary: FetchNode, event: SourceEvent): ServiceMap {
  const owner = services[primary.serviceName];
  let answered = false;
  return {
    ...services,
    [primary.serviceName]: {
      async process(asked) {
        if (owner && (answered || asked.request.query !== primary.operation)) return owner.process(asked);
        answered = true;
        return event.errors.length === 0 ? { data: event.data } : { data: event.data, errors: [...event.errors] };
      },
    },
  };
}

function pathOf(fault: unknown): { path?: (string | number)[] } {
  return fault instanceof GraphQLError && fault.path ? { path: [...fault.path] } : {};
}
