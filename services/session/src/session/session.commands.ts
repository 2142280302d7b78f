/** The operator's commands `sessions …`: list live sessions, and revoke them by a filter. */
import type { Command } from "commander";
import { z } from "zod";
import { parseOptions } from "@continuo/operator";
import type { AddCommands } from "../operator.ts";
import { createRevokeWhere, SessionConditions, SessionFilter } from "../revocation/revoke-where.ts";
import { createRevokeWhereStore } from "../revocation/revoke-where.store.ts";
import { expiryOf, type Session } from "./session.ts";

const Limit = z.object({ limit: z.coerce.number().int().min(1).max(10_000) });

export const addSessionCommands: AddCommands = (program, run) => {
  const sessions = program.command("sessions").description("Who is signed in where.");

  withFilter(sessions.command("list"))
    .description("Live sessions, the latest used first.")
    .option("--limit <count>", "at most so many", "100")
    .action(
      run(async (operator, { options: { limit: given, ...conditions } }) => {
        const { limit } = parseOptions(Limit, { limit: given });
        const filter = parseOptions(SessionConditions, named(conditions));
        const { pool } = await operator.database();
        const found = await createRevokeWhereStore(pool).list(filter, limit, operator.now());
        return { value: found.map(shown) };
      }),
    );

  withFilter(sessions.command("revoke"))
    .description(
      "Sign out every session that the filter names, at once. Told again, it goes on where it was cut short.",
    )
    .addHelpText("after", "\nExample: sessions revoke --application bank --started-before 2026-11-01 --dry-run")
    .action(
      run(async (operator, { options }) => {
        const filter = parseOptions(SessionFilter, named(options));
        const { pool } = await operator.database();
        const { announce, now, signal } = operator;
        const store = createRevokeWhereStore(pool);
        const count = await store.count(filter, now());
        if (operator.dryRun) return { value: { ...count, dryRun: true } };
        if (count.sessions > 0) {
          await operator.confirm(`Sign out ${count.sessions} sessions of ${count.users} people?`);
        }
        const revoke = createRevokeWhere({ store, announce, now });
        const { isComplete, ...done } = await revoke(filter, {
          signal,
          progress: (ended) => operator.progress("sessions signed out", ended, Math.max(ended, count.sessions)),
        });
        return { value: done, ...(!isComplete && { outcome: "PARTIAL" as const }) };
      }),
    );
};

const shown = (session: Session): object => ({
  id: session.id,
  userId: session.userId,
  deviceId: session.deviceId,
  applicationId: session.applicationId,
  acr: session.acr,
  policyVersion: session.policyVersion,
  startedAt: session.startedAt,
  lastActiveAt: session.lastActiveAt,
  expiresAt: expiryOf(session).at,
});

/** Adds the filter options; all that are given must match. */
function withFilter(command: Command): Command {
  return command
    .option("--user <id>", "of this user")
    .option("--session <id>", "this one")
    .option("--device <id>", "on this device")
    .option("--application <id>", "in this application")
    .option("--started-before <time>", "signed in before this time (ISO 8601)")
    .option("--last-active-before <time>", "not used since this time (ISO 8601)")
    .option("--acr-below <acr>", "weaker than aal2 or aal3")
    .option("--policy-version-below <version>", "under an older version of the application's policy");
}

/** Maps option names to those of SessionConditions: `--user` is `userId`. */
const named = ({ user, session, device, application, ...others }: Readonly<Record<string, unknown>>): object => ({
  userId: user,
  sessionId: session,
  deviceId: device,
  applicationId: application,
  ...others,
});
