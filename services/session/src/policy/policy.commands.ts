/** The operator's commands `policies …`: drafts, dry runs and activations. */
import { z } from "zod";
import { OperatorFault, parseOptions, readJson, type Report } from "@continuo/operator";
import type { AddCommands, Operator } from "../operator.ts";
import { createActivation, policyRetired, type Activation, type Forecast } from "./activation.ts";
import { createActivationStore } from "./activation.store.ts";
import { Policy, PolicyRules, type PolicyVersion } from "./policy.ts";

const Version = z.coerce.number().int().positive();
const ApplicationAndVersion = z.tuple([z.string(), Version.optional()]);
/** Only the rules of a policy row. */
const RulesAlone = Policy.omit({ applicationId: true, version: true });
const Changes = z.record(z.string(), z.unknown());

const LEFT_OUT = "\nWhat the file leaves out is as in the version in force.";

export const addPolicyCommands: AddCommands = (program, run) => {
  const policies = program
    .command("policies")
    .description("Session policies of applications: tried against the real sessions, then activated.");

  policies
    .command("list [application]")
    .description("Show all versions, newest first.")
    .action(
      run(async (operator, { args }) => {
        const [applicationId] = parseOptions(z.tuple([z.string().optional()]), [args[0]]);
        return { value: await (await openActivation(operator)).list(applicationId) };
      }),
    );

  policies
    .command("show <application> [version]")
    .description("Show one version; without its number, the one in force.")
    .action(
      run(async (operator, { args }) => {
        const [applicationId, version] = parseOptions(ApplicationAndVersion, [args[0], args[1]]);
        return { value: await oneOf(await openActivation(operator), applicationId, version) };
      }),
    );

  policies
    .command("draft <application>")
    .description("Write a draft, replacing the former one. It has no effect until it is activated.")
    .requiredOption("--file <path>", 'the rules as JSON, for example {"idleSeconds": 900}; - for standard input')
    .addHelpText("after", `${LEFT_OUT}\nExample: policies draft bank --file policy.json`)
    .action(
      run(async (operator, { args, options }) => {
        const [applicationId] = parseOptions(z.tuple([z.string()]), args);
        const activation = await openActivation(operator);
        const { file } = parseOptions(z.object({ file: z.string() }), options);
        const rules = await rulesIn(activation, applicationId, file);
        if (operator.dryRun) {
          await activation.tryPolicy(applicationId, rules);
          return { value: { applicationId, ...rules, dryRun: true } };
        }
        return { value: await activation.draft(applicationId, rules) };
      }),
    );

  policies
    .command("try <application> [version]")
    .description("Show what a version, or the rules in a file, would do to the current sessions. Writes nothing.")
    .option("--file <path>", "the rules as JSON, instead of a version; - for standard input")
    .addHelpText("after", `${LEFT_OUT}\nExample: policies try bank --file policy.json`)
    .action(
      run(async (operator, { args, options }) => {
        const [applicationId, version] = parseOptions(ApplicationAndVersion, [args[0], args[1]]);
        const { file } = parseOptions(z.object({ file: z.string().optional() }), options);
        if ((version === undefined) === (file === undefined)) {
          throw new OperatorFault("E_USAGE", "It is not said what to try.", "Give a version or a --file.");
        }
        const activation = await openActivation(operator);
        return reportOf(
          await activation.tryPolicy(
            applicationId,
            file === undefined
              ? await activation.version(applicationId, version ?? 0)
              : await rulesIn(activation, applicationId, file),
          ),
        );
      }),
    );

  policies
    .command("activate <application> <version>")
    .description("Activate a draft, and move all sessions to it. Repeated, it finishes what was interrupted.")
    .addHelpText("after", "\nExample: policies activate bank 3 --dry-run")
    .action(
      run(async (operator, { args }) => {
        const [applicationId, version] = parseOptions(z.tuple([z.string(), Version]), args);
        const activation = await openActivation(operator);
        const chosen = await activation.version(applicationId, version);
        if (chosen.state === "RETIRED") throw policyRetired();
        const forecast = await activation.tryPolicy(applicationId, chosen);
        if (operator.dryRun) return reportOf(forecast);
        await operator.confirm(`${textOf(forecast)}\nActivate version ${version} of ${applicationId}?`);
        const done = await activation.activate(applicationId, version, {
          signal: operator.signal,
          onProgress: ({ moved }) => operator.progress("sessions moved", moved, forecast.sessions),
        });
        return {
          value: { applicationId, version, ...done },
          ...(operator.signal.aborted && { outcome: "PARTIAL" as const }),
        };
      }),
    );
};

async function openActivation(operator: Operator): Promise<Activation> {
  const { pool } = await operator.database();
  const { announce, now } = operator;
  return createActivation({ store: createActivationStore(pool), announce, now });
}

async function oneOf(
  activation: Activation,
  applicationId: string,
  version: number | undefined,
): Promise<PolicyVersion> {
  if (version !== undefined) return activation.version(applicationId, version);
  const active = (await activation.list(applicationId)).find(({ state }) => state === "ACTIVE");
  if (active !== undefined) return active;
  throw new OperatorFault("E_USAGE", `No policy of ${applicationId} is in force.`, "See policies list.");
}

/** The rules in a file, merged over those of the active version. */
async function rulesIn(activation: Activation, applicationId: string, path: string): Promise<PolicyRules> {
  const active = (await activation.list(applicationId)).find(({ state }) => state === "ACTIVE");
  const changes = parseOptions(Changes, await readJson(path, "rules"));
  return parseOptions(PolicyRules, { ...(active && RulesAlone.parse(active)), ...changes });
}

const reportOf = (forecast: Forecast): Report => ({ value: forecast, text: textOf(forecast) });

function textOf({ sessions, users, ends, usersSignedOut, needStepUp, remainingSeconds }: Forecast): string {
  const change = (name: string, { from, to }: { from: number; to: number }): string =>
    `${name} remaining life from ${Math.round(from)} s to ${Math.round(to)} s`;
  return [
    `${sessions} sessions of ${users} people`,
    `ended at once: ${ends.IDLE} IDLE, ${ends.ABSOLUTE} ABSOLUTE, ${ends.EVICTED} EVICTED, of ${usersSignedOut} people`,
    `refused until they sign in again, more strongly or with a key: ${needStepUp}`,
    ...(remainingSeconds === null
      ? []
      : [change("median", remainingSeconds.median), change("95th percentile", remainingSeconds.p95)]),
  ].join("\n");
}
