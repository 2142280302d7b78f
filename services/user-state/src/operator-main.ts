/** Runs one operator command against the installation that the environment names. */
import { interruptible } from "@continuo/operator";
import { runOperator } from "./operator-app.ts";

process.exitCode = await interruptible((signal) => runOperator(process.argv.slice(2), { signal }));
