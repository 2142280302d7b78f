/** `npm run doctor`: every check, in a table; the exit code is 1 when any check fails. */
import { BEFORE_START, CHECKS } from "./checks.mjs";
import { say } from "./terminal.mjs";
import { SetupError } from "./setup-error.mjs";

export async function doctor() {
  const outcomes = await Promise.all(CHECKS.map(async ([name, check]) => ({ name, ...(await outcome(check)) })));
  for (const { name, sentence, error } of outcomes)
    say(`  ${error ? "✗" : "✓"} ${name.padEnd(14)} ${error?.message ?? sentence}`);
  const errors = outcomes.flatMap(({ error }) => error ?? []);
  say(errors.length === 0 ? "\nAll is well: npm start" : `\n${errors.map((error) => error.explain()).join("\n\n")}`);
  return errors.length === 0 ? 0 : 1;
}

/** The errors of the quick checks that fail now, to explain a failed start. */
export async function whatIsWrong() {
  const outcomes = await Promise.all(BEFORE_START.map(outcome));
  return outcomes.flatMap(({ error }) => error ?? []);
}

async function outcome(check) {
  try {
    return { sentence: await check() };
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    return { error };
  }
}
