import { GraphQLError, GraphQLScalarType } from "graphql";

/** `DateTime`: a moment, serialized as RFC 3339 text in UTC with milliseconds; no subgraph takes one as input. */
export const DateTime = new GraphQLScalarType<Date, string>({
  name: "DateTime",
  serialize: (value) => {
    if (value instanceof Date) return value.toISOString();
    throw new GraphQLError("expected a moment");
  },
});
