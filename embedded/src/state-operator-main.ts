/** What `npm run continuo-state` runs: one operator command of user-state, on the installation that `operator.ts` finds. */
import { interruptible } from "@continuo/operator";
import { runOperator } from "@continuo/user-state/operator";
import { operatorEnvironment } from "./operator.ts";

process.exitCode = await interruptible((signal) =>
  runOperator(process.argv.slice(2), { signal, source: () => operatorEnvironment(process.env, "userState") }),
);
