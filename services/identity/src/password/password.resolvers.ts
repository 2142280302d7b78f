import { parseInput } from "@continuo/subgraph";
import { z } from "zod";
import type { Resolvers } from "../generated/graphql.ts";
import { Email } from "../user/user.ts";
import { Password } from "./password.ts";

const Input = z.object({ email: Email, password: Password });

export const passwordResolvers: Resolvers = {
  Mutation: {
    signUp: async (_root, { input }, { signUp }) => signUp(parseInput(Input, input)),
    signInWithPassword: async (_root, { input }, { signIn }) => signIn(parseInput(Input, input)),
  },
};
