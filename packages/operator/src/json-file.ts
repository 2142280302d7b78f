import { readFile } from "node:fs/promises";
import { OperatorFault } from "./fault.ts";

/** Reads a JSON file named on the command line; `-` is standard input. `what` names it in the error message. Throws E_USAGE. */
export async function readJson(path: string, what: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path === "-" ? "/dev/stdin" : path, "utf8"));
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new OperatorFault("E_USAGE", `The ${what} cannot be read: ${why}.`, "Give a file that is there, as JSON.");
  }
}
