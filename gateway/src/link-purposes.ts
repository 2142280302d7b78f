/**
 * What links say that they are `for:`. Composition takes that word from all links but Apollo's own, and with it what makes a
 * gateway refuse a directive that it does not know: here it is put back.
 */
import { type DocumentNode, Kind, valueFromASTUntyped } from "graphql";
import { z } from "zod";

const Link = z.object({ url: z.string(), for: z.enum(["SECURITY", "EXECUTION"]) });

/** A link of a subgraph that is for something, and of which nothing is composed. */
interface LostLink extends z.infer<typeof Link> {
  readonly subgraph: string;
}

/** The supergraph with `for:` on each link that has it in a subgraph. */
export function keepPurposes(
  supergraphSdl: string,
  subgraphs: readonly { readonly name: string; readonly typeDefs: DocumentNode }[],
): { readonly supergraphSdl: string; readonly lost: readonly LostLink[] } {
  const lines = supergraphSdl.split("\n");
  const links = subgraphs.flatMap(({ name, typeDefs }) =>
    linksIn(typeDefs).map((link) => ({ subgraph: name, ...link })),
  );
  const lost = links.filter(({ url, for: purpose }) => {
    // Of several versions the latest is composed.
    const start = `  @link(url: "${url.slice(0, url.lastIndexOf("/"))}/`;
    const at = lines.findIndex((line) => line.startsWith(start));
    const line = lines[at];
    if (line === undefined) return true;
    if (!line.includes(", for: ")) lines[at] = line.replace(/^( *@link\(url: "[^"]*")/, `$1, for: ${purpose}`);
    return false;
  });
  return { supergraphSdl: lines.join("\n"), lost };
}

function linksIn({ definitions }: DocumentNode): z.infer<typeof Link>[] {
  return definitions
    .flatMap((definition) =>
      definition.kind === Kind.SCHEMA_EXTENSION || definition.kind === Kind.SCHEMA_DEFINITION
        ? (definition.directives ?? [])
        : [],
    )
    .filter(({ name }) => name.value === "link")
    .flatMap(({ arguments: given = [] }) => {
      const link = given.map(({ name, value }) => [name.value, valueFromASTUntyped(value)]);
      return Link.safeParse(Object.fromEntries(link)).data ?? [];
    });
}
