import { GraphQLError, GraphQLScalarType } from "graphql";

/** `DateTime`: a moment that leaves a subgraph as text, RFC 3339 in UTC with milliseconds; none takes one in. */
export const DateTime = new GraphQLScalarType<Date, string>({
  name: "DateTime",
  serialize: (value) => {
    if (value instanceof Date) return value.toISOString();
    throw new GraphQLError("expected a moment");
  },
});
