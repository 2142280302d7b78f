export { requireApplication, requireService, requireViewer, type SubgraphContext } from "./context.ts";
export { DateTime } from "./date-time.ts";
export { isOutage } from "./outage.ts";
export { parseInput } from "./parse-input.ts";
export { buildSchema, loadTypeDefs, type SubgraphResolvers } from "./schema.ts";
export { startSubgraph, type Subgraph, type SubgraphOptions } from "./start-subgraph.ts";
