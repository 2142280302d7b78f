import type { SubgraphContext } from "@continuo/subgraph";
import type { ChangePassword } from "./password/change-password.ts";
import type { SignIn } from "./password/sign-in.ts";
import type { SignUp } from "./password/sign-up.ts";
import type { Users } from "./user/user.ts";

/** What identity's resolvers may use. */
export interface Context extends SubgraphContext {
  /** Bound to this request's caller. */
  readonly users: Users;
  readonly signUp: SignUp;
  readonly signIn: SignIn;
  readonly changePassword: ChangePassword;
}
