/** `state …`: an operator's commands to export, import and erase a person's state. */
import { createWriteStream } from "node:fs";
import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { OperatorFault, parseOptions } from "@continuo/operator";
import { z } from "zod";
import { createErase } from "../erasure/erasure.ts";
import { createErasureStore } from "../erasure/erasure.store.ts";
import { createNamespaces } from "../namespace/namespace.ts";
import { createNamespaceStore } from "../namespace/namespace.store.ts";
import type { AddCommands, Operator } from "../operator.ts";
import { archiveOf, inspectArchive, unitsIn } from "./archive.ts";
import { createArchiveStore, createIntakeStore } from "./archive.store.ts";
import { importArchive } from "./intake.ts";

const FileOptions = z.object({ user: z.uuid(), file: z.string().min(1), overQuota: z.boolean().default(false) });
const EraseOptions = z.object({ user: z.uuid(), namespace: z.array(z.string().min(1)).min(1).optional() });

export const addStateCommands: AddCommands = (program, run) => {
  const state = program.command("state").description("The stored state of a person.");

  state
    .command("export")
    .description("Export all stored state of a person to a file, as of this moment (NDJSON).")
    .requiredOption("--user <id>", "whose")
    .option("--file <path>", "where to; - for standard output", "-")
    .addHelpText("after", "\nExample: state export --user 0199… --file ada.ndjson")
    .action(
      run(async (operator, { options }) => {
        const { user, file } = parseOptions(FileOptions, options);
        const { pool } = await operator.database();
        const lines = archiveOf(createArchiveStore(pool), user, (done, total) =>
          operator.progress("units", done, total),
        );
        let bytes = 0;
        async function* counted(): AsyncIterable<string> {
          for await (const text of lines) {
            operator.signal.throwIfAborted();
            bytes += Buffer.byteLength(text);
            yield text;
          }
        }
        const value = (): object => ({ userId: user, file, bytes, dryRun: operator.dryRun });
        const source = Readable.from(counted(), { highWaterMark: 1 });
        if (operator.dryRun) {
          for await (const _ of source) continue;
          return { value: value() };
        }
        await (file === "-"
          ? pipeline(source, operator.stdout, { end: false })
          : pipeline(source, createWriteStream(file, { mode: 0o600 })));
        return { value: value(), aside: file === "-" };
      }),
    );

  state
    .command("import")
    .description("Import an exported file: each unit is merged with the stored one, and nothing is removed.")
    .requiredOption("--user <id>", "whose it becomes")
    .option("--file <path>", "where from; - for standard input", "-")
    .option("--over-quota", "import even beyond the person's quota")
    .addHelpText(
      "after",
      `
The whole file is checked before anything is written. What was exported from this very history is there already, or was
deleted since: that changes nothing. Told again, it goes on where it was cut short. Activities, answers and replicas are
not taken in.
Example: state import --user 0199… --file ada.ndjson --dry-run`,
    )
    .action(
      run(async (operator, { options }) => {
        const { user, file, overQuota } = parseOptions(FileOptions, options);
        const { pool } = await operator.database();
        await using archive = await openArchive(operator, file);
        const { header, counts: told } = await inspectArchive(archive.lines());
        if (header.userId !== user) await operator.confirm(`Take the state of ${header.userId} in for ${user}?`);
        const { counts, isComplete, rev } = await importArchive(
          {
            store: createIntakeStore(pool),
            namespaces: createNamespaces({ store: createNamespaceStore(pool), now: () => performance.now() }),
            newEpoch: operator.createId,
            quota: overQuota ? undefined : await operator.quota(),
          },
          {
            userId: user,
            header,
            units: unitsIn(archive.lines()),
            dryRun: operator.dryRun,
            signal: operator.signal,
            progress: (done) => operator.progress("units", done, told.units),
          },
        );
        if (counts.merged > 0 && !operator.dryRun) await operator.announce.state(user, rev);
        return {
          value: { userId: user, from: header.userId, units: told.units, ...counts, dryRun: operator.dryRun },
          outcome: isComplete && counts.refused === 0 ? "DONE" : "PARTIAL",
        };
      }),
    );

  state
    .command("erase")
    .description(
      "Erase the stored state of a person permanently; their devices drop their copies at their next request.",
    )
    .requiredOption("--user <id>", "whose")
    .option("--namespace <name...>", "only this namespace; default: all")
    .addHelpText("after", "\nExample: state erase --user 0199… --namespace notes --dry-run")
    .action(
      run(async (operator, { options }) => {
        const { user: userId, namespace: namespaces } = parseOptions(EraseOptions, options);
        const { pool } = await operator.database();
        const store = createErasureStore(pool);
        if (operator.dryRun) {
          const {
            namespaces: found,
            outcomes,
            replicas,
          } = await store.erase({
            userId,
            namespaces,
            newEpoch: operator.createId(),
            dryRun: true,
          });
          return { value: { userId, namespaces: found, outcomes, replicas, dryRun: true } };
        }
        await operator.confirm(`Erase ${namespaces?.join(", ") ?? "all that is kept"} of ${userId}, for good?`);
        const erase = createErase({ store, newEpoch: operator.createId, announce: operator.announce });
        const { activityRev: _, ...receipt } = await erase({ userId, namespaces });
        return { value: { userId, ...receipt } };
      }),
    );
};

/** Opens a file that can be read twice; standard input is first copied to a temporary file. */
async function openArchive(
  operator: Operator,
  path: string,
): Promise<AsyncDisposable & { lines(): AsyncIterable<string> }> {
  await using stack = new AsyncDisposableStack();
  let from = path;
  if (path === "-") {
    const folder = stack.adopt(await mkdtemp(join(tmpdir(), "continuo-import-")), (made) =>
      rm(made, { recursive: true }),
    );
    from = join(folder, "archive.ndjson");
    await pipeline(operator.stdin, createWriteStream(from, { mode: 0o600 }), { signal: operator.signal });
  }
  const reading = await open(from).catch((cause: unknown) => {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new OperatorFault("E_USAGE", `${path} cannot be read: ${why}.`, "Give the path of a file that is there.");
  });
  await reading.close();
  const opened = stack.move();
  return {
    async *lines() {
      await using file = await open(from);
      yield* file.readLines();
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}
