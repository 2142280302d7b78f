export { createOperator } from "./create-operator.ts";
export { OperatorFault } from "./fault.ts";
export { interruptible } from "./interruptible.ts";
export { readJson } from "./json-file.ts";
export {
  parseOptions,
  type AddCommands,
  type CommandInput,
  type CommandContext,
  type Operator,
  type Report,
  type Run,
} from "./operator.ts";
