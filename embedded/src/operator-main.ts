/** What `npm run continuo` runs: one command of the operator, on the installation that the environment names, else on this folder's. */
import { interruptible } from "@continuo/operator";
import { runOperator } from "@continuo/session/operator";
import { operatorEnvironment } from "./operator.ts";

process.exitCode = await interruptible((signal) =>
  runOperator(process.argv.slice(2), { signal, source: () => operatorEnvironment(process.env) }),
);
