/** The subgraphs that a supergraph is made of: each owns a `join__Graph` (join spec v0.5). */
export function subgraphNames(supergraphSdl: string): readonly string[] {
  return [...supergraphSdl.matchAll(/@join__graph\(name: "([^"]+)"/g)].map(([, name = ""]) => name);
}

/** The environment variable that says where a subgraph is: `USER_STATE_URL` of `user-state`. */
export function urlVariable(name: string): string {
  return `${name.toUpperCase().replaceAll("-", "_")}_URL`;
}
