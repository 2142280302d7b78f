import type { Resolvers } from "../generated/graphql.ts";

export const policyResolvers: Resolvers = {
  Policy: {
    mayPersist: ({ persistence }) => persistence,
  },
};
