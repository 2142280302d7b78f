/**
 * The environment of each room (a service with its workers, or the gateway) as text, the way a process gets it: here
 * the variable names of all rooms come together. The caller adds ports and addresses.
 */
import { roleUrl, ROLES, type RoleOwner, type RolePasswords } from "@continuo/database";
import type { Overrides } from "@continuo/gateway/app";
import type { z } from "zod";
import type { Secrets } from "./secrets.ts";

export type Environment = Readonly<Record<string, string>>;

/** Identifies the issuer of access tokens; it says nothing about where the gateway listens. */
const TOKEN = { TOKEN_ISSUER: "http://continuo.localhost", TOKEN_AUDIENCE: "continuo" };

/** A subgraph whose start needs only the `subgraph` environment. */
export interface FurtherSubgraph {
  readonly Env: z.ZodObject;
  readonly start: (
    environment: Environment,
  ) => Promise<AsyncDisposable & { readonly url: string; readonly local: LocalSubgraph }>;
}

type LocalSubgraph = NonNullable<Overrides["local"]>[string];

/** `session` and `userState` serve the subgraph and its worker alike; `subgraph` is what every subgraph gets. */
export function roomEnvironments(options: {
  readonly secrets: Pick<Secrets, "gatewayKey" | "grantKey" | "masterKey" | "cursorKey">;
  readonly databaseUrl: Readonly<Record<RoleOwner, string>>;
  readonly redisUrl?: string | undefined;
  readonly mode: "development" | "production";
  readonly logLevel: string;
}): Readonly<Record<RoleOwner | "subgraph", Environment>> {
  const { secrets, databaseUrl, redisUrl = "", mode, logLevel } = options;
  const all = { HOST: "127.0.0.1", LOG_LEVEL: logLevel, REDIS_URL: redisUrl };
  const subgraph = { ...all, GATEWAY_PUBLIC_KEY: JSON.stringify(secrets.gatewayKey.publicJwk) };
  return {
    subgraph,
    identity: {
      ...subgraph,
      DATABASE_URL: databaseUrl.identity,
      GRANT_PRIVATE_KEY: JSON.stringify(secrets.grantKey.privateJwk),
    },
    session: {
      ...subgraph,
      ...TOKEN,
      DATABASE_URL: databaseUrl.session,
      GRANT_PUBLIC_KEY: JSON.stringify(secrets.grantKey.publicJwk),
      MASTER_KEY: secrets.masterKey,
      PRIVATE_RECIPIENTS: mode === "development" ? "allow" : "refuse",
    },
    userState: { ...subgraph, DATABASE_URL: databaseUrl.userState, CURSOR_KEY: secrets.cursorKey },
    gateway: {
      ...all,
      MODE: mode,
      ...TOKEN,
      DATABASE_URL: databaseUrl.gateway,
      GATEWAY_PRIVATE_KEY: JSON.stringify(secrets.gatewayKey.privateJwk),
      // Only this machine's users, tests and benchmarks call, as fast as they can.
      OPERATIONS_PER_SESSION: "0",
      CONNECTIONS_PER_SESSION: "0",
    },
  };
}

/** The connection string of each process for the database of `adminUrl`. */
export function databaseUrls(adminUrl: string, passwords: RolePasswords): Record<RoleOwner, string> {
  const url = (owner: RoleOwner): string => roleUrl(adminUrl, ROLES[owner], passwords[owner]);
  return { identity: url("identity"), session: url("session"), userState: url("userState"), gateway: url("gateway") };
}
