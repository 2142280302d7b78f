/** Our supergraph for gateways that would refuse to start on it: without the security directives unknown to them. */
import { type DirectiveNode, parse, print, valueFromASTUntyped, visit } from "graphql";
import { z } from "zod";

const SecurityLink = z.object({
  url: z.string(),
  for: z.literal("SECURITY"),
  import: z.array(z.string()).default([]),
});

/** `supergraph` without each `@link(…, for: SECURITY)` and the names it brings; each subgraph still authorizes by itself. */
export function openSupergraph(supergraph: string): string {
  const names = new Set<string>();
  const unlinked = visit(parse(supergraph), {
    Directive(node) {
      const link = node.name.value === "link" ? SecurityLink.safeParse(argumentsOf(node)).data : undefined;
      if (!link) return undefined;
      for (const name of [specOf(link.url), ...link.import.map((imported) => imported.replace(/^@/, ""))])
        names.add(name);
      return null;
    },
  });
  // Names that are not imported have the spec's name as prefix: `requiresScopes__Scope`.
  const unless = ({ name }: { name: { value: string } }): null | undefined =>
    names.has(name.value.split("__")[0] ?? "") ? null : undefined;
  return print(visit(unlinked, { Directive: unless, DirectiveDefinition: unless, ScalarTypeDefinition: unless }));
}

/** `https://specs.apollo.dev/requiresScopes/v0.1` gives `requiresScopes`. */
function specOf(url: string): string {
  return url.split("/").at(-2) ?? url;
}

function argumentsOf({ arguments: given = [] }: DirectiveNode): Record<string, unknown> {
  return Object.fromEntries(given.map(({ name, value }) => [name.value, valueFromASTUntyped(value)]));
}
