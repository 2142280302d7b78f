import type { SubgraphContext } from "@continuo/subgraph";

export type Context = SubgraphContext;
