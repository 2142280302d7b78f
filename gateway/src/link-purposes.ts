/**
 * Preserves the `for:` of links. Composition drops it from every link but Apollo's own, although it is what makes a
 * gateway refuse a directive that it does not know; here it is restored. Composition also silently drops directives
 * that a subgraph does not name in `@composeDirective`; here that is a fault.
 */
import { type ConstDirectiveNode, type DocumentNode, Kind, valueFromASTUntyped } from "graphql";
import { z } from "zod";
import { REQUIRES_AUTH } from "./graph/supergraph.ts";

const Import = z.union([z.string(), z.object({ name: z.string(), as: z.string().optional() })]);
const Link = z.object({ url: z.string(), for: z.enum(["SECURITY", "EXECUTION"]), import: z.array(Import).default([]) });
const Composed = z.object({ name: z.string() });

/** Something a subgraph declares and composition would drop, by its name or link there. */
export interface Lost {
  readonly subgraph: string;
  readonly what: string;
}

/** Restores `for:` on each link that has it in a subgraph. */
export function keepPurposes(
  supergraphSdl: string,
  subgraphs: readonly { readonly name: string; readonly typeDefs: DocumentNode }[],
): { readonly supergraphSdl: string; readonly lost: readonly Lost[] } {
  const lines = supergraphSdl.split("\n");
  const lost = subgraphs.flatMap(({ name, typeDefs }) => lostIn(typeDefs).map((what) => ({ subgraph: name, what })));
  for (const { name, typeDefs } of subgraphs)
    for (const { url, for: purpose } of linksIn(typeDefs)) {
      // Of several versions, composition keeps the latest.
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
  // A `requiresAuth` defined without our link is a different directive of the same name.
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

/** Applications of a directive on the schema itself that match `shape`. */
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
