/**
 * The hop floor: the least that a gateway does, by hand with node:http and pooled connections. It knows three
 * operations by name, verifies the caller's token (once; then from a cache), asks one or two subgraphs and merges the answers.
 */
import { Pool } from "undici";
import { z } from "zod";
import { serveParent } from "../child.ts";
import { GatewaySettings, openSubgraphHeaders } from "../peers/gateway-settings.ts";
import { openHttpServer } from "./http.ts";

/** As many connections to each subgraph as our gateway has. */
const CONNECTIONS = 64;

const ME = JSON.stringify({ query: "{ me { id email createdAt } }" });
const VIEWER_USER = JSON.stringify({ query: "{ viewer { user { __typename id } } }" });
const VIEWER_DEVICES = JSON.stringify({ query: "{ viewer { devices { nodes { __typename id name } } } }" });
const EMAIL = "query ($of: [_Any!]!) { _entities(representations: $of) { ... on User { email } } }";
const SYNC_STATUS =
  "query ($of: [_Any!]!) { _entities(representations: $of) { ... on Device { syncStatus { ackedRev headRev } } } }";

const Operation = z.object({ operationName: z.enum(["Me", "ViewerUser", "DeviceSyncStatus"]) });
type Headers = Readonly<Record<string, string>>;

serveParent(async (given) => {
  const settings = GatewaySettings.parse(given);
  const headersFor = openSubgraphHeaders(settings);
  const { identity, session, "user-state": userState } = settings.subgraphs;
  const subgraphs = {
    identity: connect(identity?.url ?? ""),
    session: connect(session?.url ?? ""),
    userState: connect(userState?.url ?? ""),
  };

  async function viewerUser(headers: Headers): Promise<string> {
    const { data }: ViewerUser = JSON.parse(await subgraphs.session.ask(VIEWER_USER, headers));
    const body = JSON.stringify({ query: EMAIL, variables: { of: [data.viewer.user] } });
    const found: Entities = JSON.parse(await subgraphs.identity.ask(body, headers));
    return JSON.stringify({ data: { viewer: { user: found.data._entities[0] } } });
  }

  async function deviceSyncStatus(headers: Headers): Promise<string> {
    const { data }: ViewerDevices = JSON.parse(await subgraphs.session.ask(VIEWER_DEVICES, headers));
    const { nodes } = data.viewer.devices;
    const of = nodes.map(({ __typename, id }) => ({ __typename, id }));
    const body = JSON.stringify({ query: SYNC_STATUS, variables: { of } });
    const found: Entities = JSON.parse(await subgraphs.userState.ask(body, headers));
    const merged = nodes.map(({ id, name }, index) => ({ id, name, ...found.data._entities[index] }));
    return JSON.stringify({ data: { viewer: { devices: { nodes: merged } } } });
  }

  const server = await openHttpServer(async ({ headers: { authorization } }, body) => {
    const { operationName } = Operation.parse(JSON.parse(body));
    const headers = await headersFor(authorization);
    switch (operationName) {
      case "Me":
        return subgraphs.identity.ask(ME, headers);
      case "ViewerUser":
        return viewerUser(headers);
      case "DeviceSyncStatus":
        return deviceSyncStatus(headers);
    }
  });
  return {
    ready: server.url,
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await Promise.all(Object.values(subgraphs).map((subgraph) => subgraph.close()));
    },
  };
});

interface Entity {
  readonly __typename: string;
  readonly id: string;
}
interface ViewerUser {
  readonly data: { readonly viewer: { readonly user: Entity } };
}
interface ViewerDevices {
  readonly data: {
    readonly viewer: { readonly devices: { readonly nodes: readonly (Entity & { readonly name: string })[] } };
  };
}
interface Entities {
  readonly data: { readonly _entities: readonly object[] };
}

/** Connections to the subgraph whose GraphQL endpoint is `url`. */
function connect(url: string): {
  ask(body: string, headers: Headers): Promise<string>;
  close(): Promise<void>;
} {
  const { origin, pathname } = new URL(url);
  const pool = new Pool(origin, { connections: CONNECTIONS });
  return {
    async ask(body, headers) {
      const answer = await pool.request({
        method: "POST",
        path: pathname,
        headers: { "content-type": "application/json", ...headers },
        body,
      });
      return answer.body.text();
    },
    close: () => pool.close(),
  };
}
