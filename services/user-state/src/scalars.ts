/** The scalars of this graph. */
import { GraphQLError, GraphQLScalarType, Kind, type ValueNode } from "graphql";

/** A non-negative integer up to 2^53 - 1: what a JSON number carries exactly. */
export const SafeInt = new GraphQLScalarType<number, number>({
  name: "SafeInt",
  serialize: asSafeInt,
  parseValue: asSafeInt,
  parseLiteral: (node: ValueNode) => asSafeInt(node.kind === Kind.INT ? Number(node.value) : undefined),
});

function asSafeInt(value: unknown): number {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  throw new GraphQLError("expected an integer from 0 to 9007199254740991");
}
