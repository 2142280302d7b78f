/**
 * Subgraphs that need no more than every subgraph gets (`subgraph` in rooms.ts). Written by `npm run new:subgraph`: one that
 * needs a database or keys of its own moves from here to rooms.ts and start-rooms.ts.
 */
import type { FurtherSubgraph } from "./rooms.ts";

export const FURTHER_SUBGRAPHS: Readonly<Record<string, FurtherSubgraph>> = {};
