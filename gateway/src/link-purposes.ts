/**
 * What links say that they are `for:`. Composition takes that word from all links but Apollo's own, and with it what makes a
 * gateway refuse a directive that it does not know: here it is put back. And composition drops without a word what a
 * subgraph does not name in `@composeDirective`: here that is a fault.
 */
import { type ConstDirectiveNode, type DocumentNode, Kind, valueFromASTUntyped } from "graphql";
import { z } from "zod";
import { REQUIRES_AUTH } from "./graph/supergraph.ts";

const Import = z.union([z.string(), z.object({ name: z.string(), as: z.string().optional() })]);
const Link = z.object({ url: z.string(), for: z.enum(["SECURITY", "EXECUTION"]), import: z.array(Import).default([]) });
const Composed = z.object({ name: z.string() });

/** What a subgraph declares and composition would leave out, by the name or the link that it has there. */
export interface Lost {
  readonly subgraph: string;
  readonly what: string;
}

/** The supergraph with `for:` on each link that has it in a subgraph. */
export function keepPurposes(
  supergraphSdl: string,
  subgraphs: readonly { readonly name: string; readonly typeDefs: DocumentNode }[],
): { readonly supergraphSdl: string; readonly lost: readonly Lost[] } {
  const lines = supergraphSdl.split("\n");
  const lost = subgraphs.flatMap(({ name, typeDefs }) => lostIn(typeDefs).map((what) => ({ subgraph: name, what })));
  for (const { name, typeDefs } of subgraphs)
    for (const { url, for: purpose } of linksIn(typeDefs)) {
      // Of several versions the latest is composed.
      const start = `  @link(url: "${identityOf(url)}/`;
      const at = lines.findIndex((line) => line.startsWith(start));
      const line = lines[at];
      if (line === undefined) lost.push({ subgraph: name, what: url });
      else if (!line.includes(", for: ")) lines[at] = line.replace(/^( *@link\(url: "[^"]*")/, `$1, for: ${purpose}`);
    }
  return { supergraphSdl: lines.join("\n"), lost };
}

function lostIn(document: DocumentNode): string[] {
  const links = linksIn(document);
  const composed = read(document, "composeDirective", Composed).map(({ name }) => name);
  const imported = links.flatMap((link) =>
    link.import.map((each) => (typeof each === "string" ? each : (each.as ?? each.name))),
  );
  // Whoever defines ours without the link has written something else of the same name.
  const isUnlinked =
    document.definitions.some(
      (node) => node.kind === Kind.DIRECTIVE_DEFINITION && node.name.value === "requiresAuth",
    ) && !links.some(({ url }) => identityOf(url) === REQUIRES_AUTH);
  return [
    ...imported.filter((name) => name.startsWith("@") && !composed.includes(name)),
    ...(isUnlinked ? ["@requiresAuth"] : []),
  ];
}

const identityOf = (url: string): string => url.slice(0, url.lastIndexOf("/"));

const linksIn = (document: DocumentNode): z.output<typeof Link>[] => read(document, "link", Link);

/** Directives of the schema itself that have this shape. */
function read<Shape extends z.ZodType>({ definitions }: DocumentNode, name: string, shape: Shape): z.output<Shape>[] {
  return definitions
    .flatMap((definition): readonly ConstDirectiveNode[] =>
      definition.kind === Kind.SCHEMA_EXTENSION || definition.kind === Kind.SCHEMA_DEFINITION
        ? (definition.directives ?? [])
        : [],
    )
    .filter((directive) => directive.name.value === name)
    .flatMap(({ arguments: given = [] }) => {
      const values = given.map((argument) => [argument.name.value, valueFromASTUntyped(argument.value)]);
      const parsed = shape.safeParse(Object.fromEntries(values));
      return parsed.success ? [parsed.data] : [];
    });
}
