/** Printed once everything runs: where it is, who to sign in as, one request to send, one thing to try. */
export function welcome({
  url,
  seconds,
  dataDirectory,
}: {
  url: string;
  seconds: number;
  dataDirectory: string;
}): string {
  return `
Continuo is ready in ${seconds.toFixed(1)} s

  GraphQL     ${url}/graphql   (subscriptions: graphql-ws, same path)
  GraphiQL    ${url}/graphiql   with example operations
  Keys        ${url}/.well-known/jwks.json
  Logs, data  ${dataDirectory}
  People      ada@example.com, alan@example.com   (password: correct horse battery staple)

  Ask:   curl -s ${url}/graphql -H 'content-type: application/json' -d '{"query":"mutation { signInWithPassword(input: { email: \\"ada@example.com\\", password: \\"correct horse battery staple\\" }) { grant expiresAt } }"}'
  Try:   npm run story${url.endsWith(":4000") ? "" : ` -- ${url}`}   (in another terminal)
  Stop:  Ctrl-C
`;
}
