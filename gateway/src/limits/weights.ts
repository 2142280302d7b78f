/**
 * The cost declarations of the graph: `@cost` and `@listSize` (IBM's cost directives, as federation 2.9 composes them).
 */
import type { Supergraph } from "@apollo/federation-internals";
import { z } from "zod";
import { COST, findDirective, SupergraphError } from "../graph/supergraph.ts";

const ListSize = z.object({
  assumedSize: z.int().nonnegative().nullish(),
  slicingArguments: z.array(z.string()).nullish(),
  sizedFields: z.array(z.string()).nullish(),
  requireOneSlicingArgument: z.boolean().nullish(),
});
export type ListSize = z.output<typeof ListSize>;
const Cost = z.object({ weight: z.int() });

/** By coordinate: `Type`, `Type.field`, `Type.field(argument:)`. */
export interface Weights {
  readonly costs: ReadonlyMap<string, number>;
  readonly listSizes: ReadonlyMap<string, ListSize>;
}

/** Throws SupergraphError when an application's arguments do not match the specification. */
export function readWeights(supergraph: Supergraph): Weights {
  function read<Shape extends z.ZodType>(name: string, shape: Shape): [string, z.output<Shape>][] {
    const { applications = [] } = findDirective(supergraph, COST, name) ?? {};
    return applications.map(({ coordinate, given }) => {
      const parsed = shape.safeParse(given);
      if (!parsed.success) throw new SupergraphError(`${coordinate} @${name}: ${z.prettifyError(parsed.error)}`);
      return [coordinate, parsed.data];
    });
  }

  const costs = read("cost", Cost).map(([coordinate, { weight }]): [string, number] => [coordinate, weight]);
  return { costs: new Map(costs), listSizes: new Map(read("listSize", ListSize)) };
}
