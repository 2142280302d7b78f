/** `npm run check:schema` as a function: arguments in, text and exit code out. */
import { parseArgs } from "node:util";
import { inWords } from "../compose.ts";
import { checkSchema, type SchemaReport } from "./schema-check.ts";

const HELP = `npm run check:schema -- [--against <git ref>] [--documents <manifest>]… [--json]

  Composes the subgraphs, looks for changes of what another subgraph owns, for committed files that are stale, and for
  changes that break clients, in the graph and in each subgraph.

  --against <git ref>     what to compare with; default where this branch left main
  --documents <manifest>  operations of clients that live elsewhere, as \`npm run trusted-documents\` writes them
  --json                  the report as JSON

  A breaking change that is meant is accepted by a line "Accept-Breaking-Change: User.email" at the end of a commit.

  Exit code: 0 may be merged, 1 may not, 2 asked wrongly.`;

/** Checks the repository at `root`; `modules` are the client modules, by default our own. */
export async function runSchemaCheck(
  args: readonly string[],
  root: string,
  modules?: readonly string[],
): Promise<{ readonly exitCode: 0 | 1 | 2; readonly text: string }> {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        against: { type: "string" },
        documents: { type: "string", multiple: true },
        json: { type: "boolean" },
        help: { type: "boolean" },
      },
    });
    if (values.help) return { exitCode: 0, text: HELP };
    const { against, documents: manifests } = values;
    const report = await checkSchema({ root, against, manifests, ...(modules && { modules }) });
    return { exitCode: report.ok ? 0 : 1, text: values.json ? JSON.stringify(report, null, 2) : toText(report) };
  } catch (cause) {
    return { exitCode: 2, text: `${cause instanceof Error ? cause.message : String(cause)}\n\n${HELP}` };
  }
}

function toText({ ok, faults, against, changes }: SchemaReport): string {
  const compared = "skipped" in against ? `NOT COMPARED: ${against.skipped}.` : `Compared with ${against.commit}.`;
  const told = changes.map(({ schema, level, path, message, documents, isAccepted }) =>
    [
      `${isAccepted ? `${level}, accepted` : level} in ${schema}: ${message}`,
      ...documents.map((name) => `  used by ${name}`),
      ...(level === "BREAKING" && !isAccepted
        ? [`  if it is meant, in a commit: Accept-Breaking-Change: ${path}`]
        : []),
    ].join("\n"),
  );
  const wrong = faults.map((fault) => `E_COMPOSITION  ${fault.code}: ${inWords(fault)}`);
  return [...wrong, ...told, compared, ok ? "The graph may be merged." : "The graph may not be merged."].join("\n");
}
