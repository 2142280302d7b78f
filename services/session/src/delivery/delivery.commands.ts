/** The operator's commands `outbox …`: notices that other systems have not received yet. */
import { z } from "zod";
import { parseOptions } from "@continuo/operator";
import type { AddCommands, Operator } from "../operator.ts";
import { createDeadLetterStore } from "./dead-letter.store.ts";
import type { DeadLetterStore } from "./dead-letter.ts";

const LIST_LIMIT = 1_000;

const Choice = z.object({
  recipient: z
    .string()
    .regex(/^(webhook|logout):[0-9a-f-]{36}$/, "webhook:<id> or logout:<session id>")
    .optional(),
  seq: z.coerce.number().int().positive().optional(),
});
const ListOptions = Choice.extend({ failed: z.boolean().default(false) });
const RetryOptions = Choice.extend({ all: z.boolean().default(false), pending: z.boolean().default(false) }).refine(
  ({ recipient, seq, all }) => all !== (recipient !== undefined || seq !== undefined),
  { message: "say which: --recipient, --seq, or --all" },
);

/** Adds the `outbox` commands. */
export const addOutboxCommands: AddCommands = (program, run) => {
  const outbox = program.command("outbox").description("Undelivered events for webhooks and logout URLs.");

  outbox
    .command("list")
    .description("Show undelivered events: pending, or given up.")
    .option("--failed", "only what is given up")
    .option("--recipient <recipient>", "only to webhook:<id> or logout:<session id>")
    .option("--seq <seq>", "only of this entry of the revocation log")
    .action(
      run(async (operator, { options }) => {
        const { failed, ...choice } = parseOptions(ListOptions, options);
        return { value: await (await openLetters(operator)).list({ ...choice, pending: !failed }, LIST_LIMIT) };
      }),
    );

  outbox
    .command("retry")
    .description("Retry events that were given up, from the start of the schedule.")
    .option("--all", "everything that was given up")
    .option("--recipient <recipient>", "only to webhook:<id> or logout:<session id>")
    .option("--seq <seq>", "only of this entry of the revocation log")
    .option("--pending", "also pending ones, at once; a receiver may be notified twice")
    .addHelpText("after", "\nExample: outbox retry --all --dry-run")
    .action(
      run(async (operator, { options }) => {
        const { all: _, ...choice } = parseOptions(RetryOptions, options);
        const letters = await openLetters(operator);
        const count = operator.dryRun ? await letters.count(choice) : await letters.retry(choice);
        return { value: { retried: count, dryRun: operator.dryRun } };
      }),
    );
};

async function openLetters(operator: Operator): Promise<DeadLetterStore> {
  return createDeadLetterStore((await operator.database()).pool);
}
