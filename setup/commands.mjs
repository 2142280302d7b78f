/** What each npm script does: its prerequisites, and the program that then runs under the pinned Node. */
import { BEFORE_START, checkFolder } from "./checks.mjs";
import { run } from "./child.mjs";
import { doctor, whatIsWrong } from "./doctor.mjs";
import { generate, stale } from "./generate.mjs";
import { inspect, install } from "./install.mjs";
import { newSubgraph } from "./new-subgraph/new-subgraph.mjs";
import { pinnedNode } from "./place.mjs";
import { SetupError } from "./setup-error.mjs";
import { leaveStdoutAlone, phase, say } from "./terminal.mjs";
import { check, test } from "./verify.mjs";

const startedAt = Date.now();

const COMMANDS = {
  start: { first: BEFORE_START, needs: ["clients"], run: start },
  test: { first: [checkFolder], needs: ["clients", "types"], run: test },
  check: { first: [checkFolder], needs: ["clients", "types"], run: check },
  generate: { first: [checkFolder], needs: ["clients", "types"], run: async () => 0 },
  story: { first: [], needs: [], run: program("e2e/story-main.ts") },
  bench: { first: [], needs: ["clients"], run: program("bench/main.ts") },
  compose: { first: [], needs: [], run: program("gateway/src/compose-main.ts") },
  "trusted-documents": {
    first: [],
    needs: [],
    run: program("gateway/src/trusted-documents/trusted-documents-main.ts"),
  },
  "check:schema": {
    first: [],
    needs: [],
    run: program("gateway/src/schema-check/schema-check-main.ts"),
    answers: true,
  },
  configuration: { first: [], needs: [], run: program("embedded/src/configuration-main.ts") },
  continuo: {
    first: [],
    needs: ["clients"],
    run: program("embedded/src/operator-main.ts", { asks: true }),
    answers: true,
  },
  "continuo-state": {
    first: [],
    needs: ["clients"],
    run: program("embedded/src/state-operator-main.ts", { asks: true }),
    answers: true,
  },
  simulate: { first: [], needs: ["clients"], run: program("services/user-state/src/simulate-main.ts") },
  migrate: { first: [], needs: [], run: program("packages/database/src/migrate-main.ts") },
  migration: { first: [], needs: [], run: program("packages/database/src/new-migration-main.ts") },
  "new:subgraph": { first: [checkFolder], needs: [], run: newSubgraph },
  doctor: { first: [], needs: undefined, run: doctor },
};

/** Runs a command and sets the process's exit code to the command's. */
export async function runCommand(name, args) {
  try {
    const command = COMMANDS[name];
    if (!command)
      throw new SetupError(
        "E_COMMAND_UNKNOWN",
        `There is no command ${name}.`,
        `Use one of: ${Object.keys(COMMANDS).join(", ")}`,
      );
    if (command.answers) leaveStdoutAlone();
    for (const check of command.first) await check();
    if (command.needs) await prepare(command.needs);
    process.exitCode = await command.run(args);
  } catch (cause) {
    if (!(cause instanceof SetupError)) throw cause;
    process.stderr.write(`\n${cause.explain()}\n`);
    process.exitCode = 1;
  }
}

async function prepare(needs) {
  const state = inspect();
  if (state !== "ready") {
    if (!process.stdout.isTTY) say(`  Dependencies are ${state}: installing`);
    await phase(`dependencies (${state})`, install);
  }
  const kinds = stale(needs);
  if (kinds.length > 0) await phase("generated code", () => generate(kinds));
}

async function start(args) {
  const code = await run(pinnedNode, ["embedded/src/main.ts", "--since", String(startedAt), ...args], {
    tether: true,
  });
  if (code === 1) for (const error of await whatIsWrong()) process.stderr.write(`\n${error.explain()}\n`);
  return code;
}

function program(file, options) {
  return (args) => run(pinnedNode, [file, ...args], options);
}
