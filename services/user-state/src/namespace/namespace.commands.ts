/** `namespaces …`: an operator's commands for what applications publish. */
import { NamespaceDefinition } from "@continuo/namespace";
import { OperatorFault, readJson } from "@continuo/operator";
import { z } from "zod";
import type { AddCommands, Operator } from "../operator.ts";
import type { NamespaceStore } from "./namespace.ts";
import { createNamespaceStore } from "./namespace.store.ts";
import { publish, type Publication, type PublicationStore } from "./publication.ts";

export const addNamespaceCommands: AddCommands = (program, run) => {
  const namespaces = program
    .command("namespaces")
    .description("What applications may store of a person's state. A published definition never changes.");

  namespaces
    .command("list")
    .description("Show the newest definition of each version.")
    .action(
      run(async (operator) => {
        const value = await (await openStore(operator)).load();
        const lines = value.map(({ revision, definition: { name, version, persistence, fields } }) =>
          [`${name} ${version}.${revision}`, persistence, Object.keys(fields).join(" ")].join("  "),
        );
        return { value, text: `${lines.join("\n")}\n` };
      }),
    );

  namespaces
    .command("publish <file>")
    .description("Publish definitions: one, or a list, as JSON that defineNamespace made; - for standard input.")
    .addHelpText(
      "after",
      `
An additive change is a further revision of its version. A breaking one is refused, and said where and why, unless it is
a new version whose lens covers it. Services know of it within 10 s: publish first, then let clients use it.
Example: namespaces publish preferences.json --dry-run`,
    )
    .action(
      run(async (operator, { args: [file = "-"] }) => {
        const { dryRun } = operator;
        const definitions = await definitionsIn(file);
        const store = await openStore(operator);
        const published: Publication[] = [];
        for (const definition of definitions) published.push(await publish(store, definition, { dryRun }));
        return {
          value: published,
          text: published.map((publication) => textOf(publication, dryRun)).join("\n"),
          outcome: published.some(({ result }) => result === "REFUSED") ? "FAILED" : "DONE",
        };
      }),
    );
};

async function openStore(operator: Operator): Promise<NamespaceStore & PublicationStore> {
  return createNamespaceStore((await operator.database()).pool);
}

/** Throws E_USAGE with each problem. */
async function definitionsIn(file: string): Promise<readonly NamespaceDefinition[]> {
  const given = await readJson(file, "definitions");
  const parsed = z
    .array(NamespaceDefinition)
    .min(1)
    .safeParse(Array.isArray(given) ? given : [given]);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(({ path, message }) => `${path.slice(1).join(".")}: ${message}`);
  throw new OperatorFault("E_USAGE", problems.join("; "), "Make the definitions with defineNamespace.");
}

function textOf({ name, version, revision, result, changes }: Publication, dryRun: boolean): string {
  const became = dryRun && result === "PUBLISHED" ? "WOULD BE PUBLISHED" : result;
  const lines = changes.map(({ effect, path, why }) => `  ${effect.padEnd(10)}  ${path} ${why}`);
  return [`${name} ${version}.${revision}  ${became}`, ...lines].join("\n");
}
