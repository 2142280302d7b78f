import { readFile } from "node:fs/promises";
import { OperatorFault } from "./fault.ts";

/** The JSON in a file that the command line names; `-` is standard input. `what` it is, the fault says. Throws E_USAGE. */
export async function readJson(path: string, what: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path === "-" ? "/dev/stdin" : path, "utf8"));
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new OperatorFault("E_USAGE", `The ${what} cannot be read: ${why}.`, "Give a file that is there, as JSON.");
  }
}
