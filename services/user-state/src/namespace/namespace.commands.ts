/** `namespaces …`: what applications publish, for an operator. */
import { readFile } from "node:fs/promises";
import { NamespaceDefinition } from "@continuo/namespace";
import type { Command } from "commander";
import { z } from "zod";
import type { NamespaceStore } from "./namespace.ts";
import { publish, type Publication, type PublicationStore } from "./publication.ts";

/** What the commands use, and where their result goes: `value` for programs, `text` for people. */
export interface NamespaceDesk {
  readonly store: () => Promise<NamespaceStore & PublicationStore>;
  readonly report: (report: { readonly value: unknown; readonly text: string; readonly failed?: boolean }) => void;
}

/** What is wrong with how a command was used. */
export class WrongUse extends Error {
  override readonly name = "WrongUse";
}

export function addNamespaceCommands(program: Command, { store, report }: NamespaceDesk): void {
  const namespaces = program
    .command("namespaces")
    .description("What applications may keep of a person's state: definitions, published once and for all.");

  namespaces
    .command("list")
    .description("Show the newest definition of each version.")
    .action(async () => {
      const value = await (await store()).load();
      const lines = value.map(({ revision, definition: { name, version, persistence, fields } }) =>
        [`${name} ${version}.${revision}`, persistence, Object.keys(fields).join(" ")].join("  "),
      );
      report({ value, text: lines.join("\n") });
    });

  namespaces
    .command("publish <file>")
    .description("Publish definitions: one, or a list, as JSON that defineNamespace made; - for standard input.")
    .option("--dry-run", "say what would be done, and write nothing")
    .addHelpText(
      "after",
      `
An additive change is a further revision of its version. A breaking one is refused, and said where and why, unless it is
a new version whose lens covers it. Services know of it within 10 s: publish first, then let clients use it.
Example: namespaces publish preferences.json --dry-run`,
    )
    .action(async (file: string, { dryRun = false }: { dryRun?: boolean }) => {
      const definitions = await definitionsIn(file);
      const published: Publication[] = [];
      for (const definition of definitions) published.push(await publish(await store(), definition, { dryRun }));
      report({
        value: published,
        text: published.map((publication) => textOf(publication, dryRun)).join("\n"),
        failed: published.some(({ result }) => result === "REFUSED"),
      });
    });
}

/** Throws WrongUse with each problem. */
async function definitionsIn(file: string): Promise<readonly NamespaceDefinition[]> {
  let given: unknown;
  try {
    given = JSON.parse(await readFile(file === "-" ? "/dev/stdin" : file, "utf8"));
  } catch (cause) {
    throw new WrongUse(`The definitions cannot be read: ${cause instanceof Error ? cause.message : String(cause)}.`);
  }
  const parsed = z
    .array(NamespaceDefinition)
    .min(1)
    .safeParse(Array.isArray(given) ? given : [given]);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(({ path, message }) => `${path.slice(1).join(".")}: ${message}`);
  throw new WrongUse(problems.join("; "));
}

function textOf({ name, version, revision, result, changes }: Publication, dryRun: boolean): string {
  const became = dryRun && result === "PUBLISHED" ? "WOULD BE PUBLISHED" : result;
  const lines = changes.map(({ effect, path, why }) => `  ${effect.padEnd(10)}  ${path} ${why}`);
  return [`${name} ${version}.${revision}  ${became}`, ...lines].join("\n");
}
