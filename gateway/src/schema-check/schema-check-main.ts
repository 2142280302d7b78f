/** `npm run check:schema`: whether the graph may be merged. */
import { join } from "node:path";
import { runSchemaCheck } from "./command.ts";

const { exitCode, text } = await runSchemaCheck(process.argv.slice(2), join(import.meta.dirname, "../../.."));
(exitCode === 2 ? console.error : console.log)(text);
process.exitCode = exitCode;
