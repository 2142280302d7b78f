/** GraphiQL for development, served entirely from the gateway: it works offline. */
import type { FastifyInstance } from "fastify";
import { EXAMPLES } from "./examples.ts";

/**
 * The page's script. For its WebSocket it takes the token from the current tab's Authorization header, which GraphiQL
 * keeps in the browser's storage.
 */
const SCRIPT = `
  const blob = (text) => URL.createObjectURL(new Blob([text], { type: "application/javascript" }));
  const workers = Object.fromEntries(Object.entries(WORKERS).map(([label, text]) => [label, blob(text)]));
  self.MonacoEnvironment = { globalAPI: false, getWorkerUrl: (_, label) => workers[label] };
  const headers = () => { try { return JSON.parse(localStorage.getItem("graphiql:headers") || "{}"); } catch { return {}; } };
  const authorization = () => headers().authorization ?? headers().Authorization;
  YogaGraphiQL.renderYogaGraphiQL(document.querySelector("#root"), {
    title: "Continuo",
    endpoint: "/graphql",
    defaultTabs: EXAMPLES,
    subscriptionsProtocol: "WS",
    connectionParams: () => ({ authorization: authorization() }),
  });
`;

/** Serves the page at /graphiql. The large bundle is loaded at the first visit. */
export function serveGraphiQL(http: FastifyInstance): void {
  let page: Promise<string> | undefined;
  http.get("/graphiql", async (_request, reply) => {
    page ??= render();
    return reply.header("content-type", "text/html; charset=utf-8").send(await page);
  });
}

async function render(): Promise<string> {
  const { css, editorWorkerService, favicon, graphqlWorker, js, jsonWorker } =
    await import("@graphql-yoga/render-graphiql/graphiql");
  const workers = { editorWorkerService, json: jsonWorker, graphql: graphqlWorker };
  return `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <title>Continuo · GraphiQL</title>
    <link rel="icon" href="${favicon}" />
    <style>${css}</style>
  </head>
  <body class="no-focus-outline">
    <noscript>GraphiQL needs JavaScript.</noscript>
    <div id="root"></div>
    <script>${js}</script>
    <script>const WORKERS = ${embed(workers)}; const EXAMPLES = ${embed(EXAMPLES)};${SCRIPT}</script>
  </body>
</html>
`;
}

/** JSON that cannot close the script element it is embedded in. */
function embed(value: unknown): string {
  return JSON.stringify(value).replaceAll("<", "\\u003c");
}
