import { envTypes, loadEnv as parseEnv } from "@continuo/process";
import { z } from "zod";
import { subgraphNames, urlVariable } from "./graph/subgraph-names.ts";
import { loadSupergraph, SUPERGRAPH_FILE } from "./graph/supergraph-file.ts";
import type { Limits } from "./limits/limits.ts";
import type { Rates } from "./rate-limit/rate-limits.ts";

const baseUrl = z.url({ protocol: /^https?$/ }).transform((text) => text.replace(/\/+$/, ""));

const origins = z
  .string()
  .default("")
  .transform((text) =>
    text
      .split(",")
      .map((origin) => origin.trim())
      .filter(Boolean),
  )
  .pipe(z.array(z.string().regex(/^https?:\/\/[^/\s]+$/, "expected origins such as https://app.example.com")));

const bound = (meaning: string, fallback: number): z.ZodDefault<z.ZodCoercedNumber> =>
  z.coerce.number().int().min(1).default(fallback).describe(meaning);

const rate = (meaning: string, fallback: number): z.ZodDefault<z.ZodCoercedNumber> =>
  z.coerce.number().int().min(0).default(fallback).describe(`${meaning} 0: without limit.`);

export { urlVariable };

/** The subgraphs of the committed supergraph. Each has an environment variable for its URL. */
export const SUBGRAPHS = subgraphNames(loadSupergraph());
const subgraphUrls = Object.fromEntries(
  SUBGRAPHS.map((name) => [urlVariable(name), baseUrl.describe(`Base of the ${name} subgraph.`)]),
);

/** The environment of a gateway process. */
export const Env = z
  .object({
    HOST: envTypes.host,
    PORT: envTypes.port.default(4000).describe("Port to listen on."),
    HEALTH_PORT: envTypes.healthPort,
    LOG_LEVEL: envTypes.logLevel,
    MODE: envTypes.mode,
    GATEWAY_PRIVATE_KEY: envTypes.privateJwk.describe(
      "Signs the internal identity; the subgraphs hold its public half.",
    ),
    // Always required: the gateway calls session for more than the graph.
    SESSION_URL: baseUrl,
    ...subgraphUrls,
    PUBLIC_URL: baseUrl
      .optional()
      .describe(
        "Public URL of the gateway, as DPoP proofs name it (htu); required in production, in development default where it listens.",
      ),
    TOKEN_ISSUER: envTypes.issuer.describe("`iss` of the access tokens to accept."),
    TOKEN_AUDIENCE: z.string().default("continuo").describe("`aud` of the access tokens to accept."),
    REPLICA: z
      .string()
      .max(255)
      .optional()
      .describe("Name under which this replica confirms revocations; default host:port."),
    ALLOWED_ORIGINS: origins.describe(
      "Browser origins that may call, separated by commas; the gateway's own always may.",
    ),
    DATABASE_URL: envTypes.postgresUrl
      .optional()
      .describe("To listen for pokes and to know used DPoP proofs, when REDIS_URL is not set."),
    REDIS_URL: envTypes.redisUrl,
    SUPERGRAPH_FILE: z
      .string()
      .optional()
      .describe("The supergraph to serve, read again every 2 s; default this release's own, which stays."),
    SUPERGRAPH_LAST_GOOD: z
      .string()
      .optional()
      .describe(
        "Keeps the last good supergraph for a start with a bad one; default SUPERGRAPH_FILE with `.last-good`.",
      ),
    TRUSTED_DOCUMENTS: z
      .string()
      .optional()
      .describe(
        "A manifest as `npm run trusted-documents` writes it. In production no other documents are served then.",
      ),
    TRUSTED_PROXY_HOPS: z.coerce
      .number()
      .int()
      .min(0)
      .default(0)
      .describe(
        "How many trusted proxies in front append to X-Forwarded-For; what came before their entries is ignored.",
      ),
    OPERATIONS_PER_SESSION: rate("Operations of a session in 10 s.", 300),
    OPERATIONS_PER_NETWORK: rate(
      "Operations of a network (IPv4 /24, IPv6 /64) in 10 s; of this machine any number.",
      3_000,
    ),
    CONNECTIONS_PER_SESSION: rate("Sockets and event streams that a session may begin in a minute.", 60),
    SOCKETS_PER_NETWORK: rate("Sockets that a network may have open at each gateway.", 1_000),
    MAX_DEPTH: bound("Levels of fields that an operation may have.", 15),
    MAX_ALIASES: bound("Aliases that an operation may have.", 30),
    MAX_ROOT_FIELDS: bound("Fields that an operation may have at its root.", 20),
    MAX_DIRECTIVES: bound("Directives that an operation may have.", 50),
    MAX_SELECTIONS: bound("Fields and fragments of an operation, its fragments put in place.", 1_000),
    MAX_TOKENS: bound(
      "Tokens of a document, and lines; 20 characters for each. A dashboard's largest has a few hundred tokens.",
      5_000,
    ),
    MAX_COST: bound(
      "Points that an operation may cost: one for each object that it may be answered with, 1,000 for a password.",
      10_000,
    ),
    LIST_SIZE: bound("Members that a list is taken to have, where neither graph nor arguments say.", 10),
  })
  .refine((env) => env.DATABASE_URL !== undefined || env.REDIS_URL !== undefined, {
    path: ["DATABASE_URL"],
    error: "set DATABASE_URL or REDIS_URL: pokes and the replay cache need one of them",
  })
  // Behind a proxy, clients cannot name the address it listens on in a proof.
  .refine((env) => env.MODE !== "production" || env.PUBLIC_URL !== undefined, {
    path: ["PUBLIC_URL"],
    error: "set PUBLIC_URL in production: proofs of keys and the OAuth metadata name it",
  });

/** The URL of each subgraph, by name. */
export function subgraphUrlsOf(env: Readonly<Record<string, unknown>>): ReadonlyMap<string, string> {
  return new Map(SUBGRAPHS.map((name) => [name, String(env[urlVariable(name)])]));
}

/** Environment variables for the subgraphs' URLs, from their names. */
export function subgraphUrlVariables(urlOf: (name: string) => string): Record<string, string> {
  return Object.fromEntries(SUBGRAPHS.map((name) => [urlVariable(name), urlOf(name)]));
}

/** The rate limits that the environment sets. */
export function ratesOf(env: z.output<typeof Env>): Rates {
  return {
    operationsPerSession: env.OPERATIONS_PER_SESSION,
    operationsPerNetwork: env.OPERATIONS_PER_NETWORK,
    connectionsPerSession: env.CONNECTIONS_PER_SESSION,
  };
}

/** The supergraph file that the environment names. The release's own file never changes, so it is not watched. */
export function supergraphFilesOf({ SUPERGRAPH_FILE: file, SUPERGRAPH_LAST_GOOD: lastGood }: z.output<typeof Env>): {
  file: string;
  lastGoodFile: string | undefined;
  watch: boolean;
} {
  if (file === undefined) return { file: SUPERGRAPH_FILE, lastGoodFile: undefined, watch: false };
  return { file, lastGoodFile: lastGood ?? `${file}.last-good`, watch: true };
}

/** The operation limits that the environment sets. */
export function limitsOf(env: z.output<typeof Env>): Limits {
  return {
    depth: env.MAX_DEPTH,
    aliases: env.MAX_ALIASES,
    rootFields: env.MAX_ROOT_FIELDS,
    directives: env.MAX_DIRECTIVES,
    selections: env.MAX_SELECTIONS,
    tokens: env.MAX_TOKENS,
    cost: env.MAX_COST,
  };
}

export type Env = z.output<typeof Env>;

/** Reads this process's environment. Throws EnvError with every problem at once. */
export const loadEnv = (source?: Readonly<Record<string, string | undefined>>): Env => parseEnv(Env, source);
