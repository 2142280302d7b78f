import type { Resolvers } from "../generated/graphql.ts";

export const userResolvers: Resolvers = {
  Query: {
    me: async (_root, _args, { users }) => users.me(),
  },
  User: {
    __resolveReference: async ({ id }, { users }) => users.find(id),
  },
};
