/** The operator's commands `users …`: who may sign in. */
import { parseOptions } from "@continuo/operator";
import type { Command } from "commander";
import { z } from "zod";
import type { AddCommands, Operator } from "../operator.ts";
import { createStandingStore } from "./standing.store.ts";
import { createStandings, UserKey, type Standings } from "./standing.ts";

const Options = z.object({ user: UserKey });

export const addUserCommands: AddCommands = (program, run) => {
  const users = program.command("users").description("Users, and whether they may sign in.");

  ofUser(users.command("show"))
    .description("Show a user: since when they are disabled, and how many sign-ins have failed in a row.")
    .action(
      run(async (operator, { options }) => {
        const { user } = parseOptions(Options, options);
        return { value: await (await openStandings(operator)).find(user) };
      }),
    );

  ofUser(users.command("unlock"))
    .description("Unlock a password that too many failed sign-ins have locked.")
    .addHelpText("after", "\nExample: users unlock --user ada@example.com")
    .action(run(upon(({ id }, { standings }) => standings.unlock(id))));

  ofUser(users.command("disable"))
    .description("Disable a user: end every session, and refuse new sign-ins. Their data stays.")
    .addHelpText("after", "\nExample: users disable --user ada@example.com --dry-run")
    .action(
      run(
        upon(async ({ id, email }, { operator, standings }) => {
          await operator.confirm(`Disable ${email}, and end their sessions?`);
          return standings.disable(id);
        }),
      ),
    );

  ofUser(users.command("enable"))
    .description("Enable a disabled user. Their former sessions stay ended.")
    .action(run(upon(({ id }, { standings }) => standings.enable(id))));

  ofUser(users.command("delete"))
    .description("Delete a user permanently: credentials, every session, and all their state.")
    .addHelpText("after", "\nExample: users delete --user ada@example.com --dry-run")
    .action(
      run(
        upon(async ({ id, email }, { operator, standings }) => {
          await operator.confirm(`Delete ${email}, their sessions and their state for good?`);
          return { ...(await standings.remove(id)), deleted: true };
        }),
      ),
    );
};

const ofUser = (command: Command): Command => command.requiredOption("--user <id or address>", "this one");

type Found = Awaited<ReturnType<Standings["find"]>>;

/** Applies `change` to the user that the command names; a dry run only shows the user. */
const upon =
  (change: (found: Found, using: { operator: Operator; standings: Standings }) => Promise<object>) =>
  async (operator: Operator, { options }: { readonly options: unknown }): Promise<{ value: object }> => {
    const { user } = parseOptions(Options, options);
    const standings = await openStandings(operator);
    const found = await standings.find(user);
    return { value: operator.dryRun ? { ...found, dryRun: true } : await change(found, { operator, standings }) };
  };

async function openStandings(operator: Operator): Promise<Standings> {
  const { pool } = await operator.database();
  return createStandings({ store: createStandingStore(pool), posted: () => operator.posted(), now: operator.now });
}
