/** The names of a supergraph's subgraphs: each has a `join__Graph` value (join spec v0.5). */
export function subgraphNames(supergraphSdl: string): readonly string[] {
  return [...supergraphSdl.matchAll(/@join__graph\(name: "([^"]+)"/g)].map(([, name = ""]) => name);
}

/** The environment variable for a subgraph's URL: `USER_STATE_URL` for `user-state`. */
export function urlVariable(name: string): string {
  return `${name.toUpperCase().replaceAll("-", "_")}_URL`;
}
