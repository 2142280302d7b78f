export { OperatorFault } from "./fault.ts";
export { interruptible } from "./interruptible.ts";
export { readJson } from "./json-file.ts";
export {
  parseOptions,
  type AddCommands,
  type CommandInput,
  type Desk,
  type Operator,
  type Report,
  type Run,
} from "./operator.ts";
export { runProgram } from "./program.ts";
export type { Streams } from "./terminal.ts";
