import { parseInput } from "@continuo/subgraph";
import { z } from "zod";
import type { Resolvers } from "../generated/graphql.ts";

const Input = z.object({ refreshToken: z.string().min(1).max(512) });

export const tokenResolvers: Resolvers = {
  Mutation: {
    refreshSession: async (_root, args, context) => {
      const request = { ...parseInput(Input, args), jkt: context.jkt };
      const tokens = await context.rotation.refresh(request, context.logger);
      context.reread();
      context.adopt(tokens.session);
      return tokens;
    },
  },
};
