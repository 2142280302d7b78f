import { AppError } from "@continuo/errors";
import { parseInput } from "@continuo/subgraph";
import { z } from "zod";
import type { Resolvers } from "../generated/graphql.ts";
import { Email } from "../user/user.ts";
import { Password } from "./password.ts";

const Input = z.object({ email: Email, password: Password });
const Change = z.object({ currentPassword: Password, newPassword: Password });

export const passwordResolvers: Resolvers = {
  Mutation: {
    signUp: async (_root, { input }, { signUp }) => signUp(parseInput(Input, input)),
    signInWithPassword: async (_root, { input }, { signIn, caller, logger }) =>
      signIn(parseInput(Input, input), {
        signedInAs: caller.kind === "viewer" ? caller.viewer.userId : null,
        logger,
      }),
    changePassword: async (_root, { input }, { changePassword, users, logger }) => {
      const change = parseInput(Change, input);
      const user = await users.me();
      if (user === null) throw new AppError("UNAUTHENTICATED", "SIGN_IN_REQUIRED", "Sign in first.");
      await changePassword(user, change);
      logger.info({ userId: user.id }, "a password was changed");
      return { user };
    },
  },
};
