import { parseInput } from "@continuo/subgraph";
import { z } from "zod";
import type { Resolvers } from "../generated/graphql.ts";

const Input = z.object({ grant: z.string().max(4_096), refreshToken: z.string().min(1).max(512) });

export const stepUpResolvers: Resolvers = {
  Mutation: {
    stepUp: async (_root, { input }, context) => {
      const tokens = await context.stepUp({ ...parseInput(Input, input), jkt: context.jkt }, context.logger);
      context.reread();
      context.adopt(tokens.session);
      return tokens;
    },
  },
};
