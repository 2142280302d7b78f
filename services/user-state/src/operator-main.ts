/** One command of the operator, on the installation that the environment names. */
import { runOperator } from "./operator-app.ts";

process.exitCode = await runOperator(process.argv.slice(2));
