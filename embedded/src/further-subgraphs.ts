/**
 * Subgraphs that need only what every subgraph gets (`subgraph` in rooms.ts). Written by `npm run new:subgraph`: a
 * subgraph that needs its own database or keys moves from here to rooms.ts and start-rooms.ts.
 */
import type { FurtherSubgraph } from "./rooms.ts";

export const FURTHER_SUBGRAPHS: Readonly<Record<string, FurtherSubgraph>> = {};
