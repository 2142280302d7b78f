/** The gateway's composition root. */
import { createDpopVerifier, createIdentitySigner } from "@continuo/access";
import {
  cannotListen,
  createGauge,
  createHealth,
  createLogger,
  type Logger,
  measureOperations,
  startHealthPort,
} from "@continuo/process";
import { openRelays, type Pokes, type Relays, startPokes } from "@continuo/signals";
import { hostname } from "node:os";
import { serveAccount } from "./account.ts";
import { startActivity } from "./activity.ts";
import { createAdmissions } from "./caller.ts";
import { serveCheck } from "./check.ts";
import { createNonces } from "./dpop/nonces.ts";
import { createProofs } from "./dpop/proofs.ts";
import { type ReplayCache, startReplayCache } from "./dpop/replay-cache.ts";
import { type Env, limitsOf, ratesOf, subgraphUrlsOf, supergraphFilesOf } from "./env.ts";
import { createFront, serveGraphQL, serveKeys } from "./front.ts";
import { serveGraphiQL } from "./graphiql/page.ts";
import { createApolloGraph } from "./graph/apollo-graph.ts";
import { LOOK_EVERY_MS, openSupergraph, pauseOf } from "./graph/supergraph-source.ts";
import { createOperations } from "./operations.ts";
import { serveOAuth } from "./oauth/oauth-front.ts";
import { networkOf as networkOfSender, type NetworkOf } from "./rate-limit/network.ts";
import { openRateLimits } from "./rate-limit/rate-limits.ts";
import { createRevocationFeed } from "./revocation/revocation-feed.ts";
import { createRevocationSet } from "./revocation/revocation-set.ts";
import { revocationLog, startRevocations } from "./revocation/start-revocations.ts";
import { createStanding } from "./revocation/standing.ts";
import { createStreamRegistry } from "./revocation/stream-registry.ts";
import { createDocuments } from "./limits/documents.ts";
import { createServer } from "./server.ts";
import { startTokenVerifier } from "./signing-keys.ts";
import { createSocketServer } from "./socket/socket-server.ts";
import { serveUpgrades } from "./socket/upgrade.ts";
import { serveEventStreams } from "./sse/serve-event-streams.ts";
import type { LocalSubgraph } from "./subgraph/local-subgraph.ts";
import { createSubgraphClient, type SubgraphClient } from "./subgraph/subgraph-client.ts";
import { createSubscriptions } from "./subscription/subscriptions.ts";
import { serveTickets } from "./ticket/serve-tickets.ts";
import { createTrustedDocuments, loadManifest } from "./trusted-documents/trusted-documents.ts";
import { createTickets } from "./ticket/tickets.ts";

const openStreams = createGauge("continuo_streams_open", "Sockets and event streams that are open.", ["transport"]);
const revocationAge = createGauge(
  "continuo_revocation_age_seconds",
  "How long ago the revocation log was read to its end; from 3 s on each operation waits for a read.",
  [],
);

const KEYS_PATH = "/.well-known/jwks.json";

export interface App extends AsyncDisposable {
  /** The gateway's URL, for example `http://127.0.0.1:4000`. */
  readonly url: string;
}

/** Replacements for what the environment configures. */
export interface Overrides {
  /** Subgraphs in this process, used instead of their URLs. */
  readonly local?: Readonly<Record<string, LocalSubgraph>>;
  readonly logger?: Logger;
  readonly pokes?: Pokes;
  readonly relays?: Relays;
  readonly replayCache?: ReplayCache;
  /** Milliseconds; documented where each is used. */
  readonly waits?: {
    readonly readEveryMs?: number | undefined;
    readonly recheckMs?: number | undefined;
    readonly lookEveryMs?: number | undefined;
    readonly pingEveryMs?: number | undefined;
    readonly backoffMs?: ((failures: number) => number) | undefined;
    readonly answerWithinMs?: number | undefined;
  };
}

/** The environment sets at least one of the two; with Redis the database is not used. */
function busOf({ DATABASE_URL = "", REDIS_URL }: Env, logger: Logger): Parameters<typeof startPokes>[0] {
  return { databaseUrl: DATABASE_URL, redisUrl: REDIS_URL, logger };
}

/** Starts the gateway. It listens at once, and is ready when the subgraphs and the revocation feed are. */
export async function startApp(env: Env, overrides: Overrides = {}): Promise<App> {
  const logger = overrides.logger ?? createLogger({ name: "gateway", level: env.LOG_LEVEL });
  const { waits = {}, local = {} } = overrides;
  const isDevelopment = env.MODE === "development";
  const monotonic = (): number => performance.now();
  await using stack = new AsyncDisposableStack();
  // Not read before the gateway listens.
  let publicUrl = env.PUBLIC_URL ?? "";

  const health = createHealth();
  const signer = createIdentitySigner(env.GATEWAY_PRIVATE_KEY);
  const clients = new Map<string, SubgraphClient>();
  for (const [name, url] of subgraphUrlsOf(env)) {
    const at = local[name] ?? url;
    const client = stack.use(createSubgraphClient({ name, at, signer, logger, answerWithinMs: waits.answerWithinMs }));
    clients.set(name, client);
    health.add(name, () => client.isReady());
  }
  const session = clientOf("session");
  const userState = clientOf("user-state");

  /** For the subgraphs that the gateway calls outside the graph. */
  function clientOf(name: string): SubgraphClient {
    const client = clients.get(name);
    if (!client) throw new Error(`the supergraph has no subgraph "${name}"`);
    return client;
  }

  const bus = busOf(env, logger);
  const pokes = overrides.pokes ?? stack.use(await startPokes(bus));
  const relays = overrides.relays ?? stack.use(await openRelays(bus));
  const revocations = createRevocationSet(monotonic);
  const registry = createStreamRegistry(revocations);
  const feed = createRevocationFeed({
    ...revocationLog(session, env.REPLICA ?? `${hostname()}:${env.PORT || process.pid}`),
    apply({ effect, sessionIds, grantIds = [], reason }) {
      for (const grantId of grantIds) revocations.add(grantId, reason);
      return effect === "ENDED" ? endSessions(sessionIds, reason) : restoreSessions(sessionIds);
    },
    now: monotonic,
    logger,
  });
  stack.use(
    await startRevocations({
      feed,
      pokes,
      logger,
      onUnknown: () => registry.endUnknown(),
      readEveryMs: waits.readEveryMs,
    }),
  );
  health.add("revocations", async () => feed.isCurrent());
  stack.use(openStreams.watch(() => [...registry.counts()].map(([transport, open]) => [{ transport }, open])));
  stack.use(revocationAge.watch(() => [[{}, feed.ageMs() / 1_000]]));
  const measure = stack.use(measureOperations("gateway"));

  function endSessions(sessionIds: readonly string[], endReason: string): number {
    for (const sessionId of sessionIds) revocations.add(sessionId, endReason);
    return sessionIds.reduce((closed, sessionId) => closed + registry.endSession(sessionId, endReason), 0);
  }

  function restoreSessions(sessionIds: readonly string[]): number {
    for (const sessionId of sessionIds) revocations.remove(sessionId);
    return 0;
  }

  const standing = createStanding({ feed, revocations });

  const verifier = stack.use(
    await startTokenVerifier({
      url: new URL(`${env.SESSION_URL}${KEYS_PATH}`),
      issuer: env.TOKEN_ISSUER,
      audience: env.TOKEN_AUDIENCE,
      pokes,
      logger,
    }),
  );
  const nonces = createNonces(env.GATEWAY_PRIVATE_KEY);
  const replayCache = overrides.replayCache ?? stack.use(await startReplayCache(bus));
  const proofs = createProofs({
    verifier: createDpopVerifier({ acceptsNonce: (nonce) => nonces.accepts(nonce) }),
    replayCache,
    publicUrl: () => publicUrl,
  });
  const tickets = createTickets({ privateJwk: env.GATEWAY_PRIVATE_KEY, replayCache });
  const rates = stack.use(await openRateLimits({ rates: ratesOf(env), redisUrl: env.REDIS_URL, logger }));
  const networkOf: NetworkOf = (request) => networkOfSender(request, env.TRUSTED_PROXY_HOPS);
  const admissions = createAdmissions({ verifier, proofs, tickets, standing, rates });
  const activity = stack.use(startActivity({ session, logger }));

  const limits = limitsOf(env);
  const documents = createDocuments(limits);
  const manifest = env.TRUSTED_DOCUMENTS === undefined ? undefined : loadManifest(env.TRUSTED_DOCUMENTS);
  const supergraph = stack.use(
    await openSupergraph({
      ...supergraphFilesOf(env),
      build: (supergraphSdl) => createApolloGraph({ supergraphSdl, clients, listSize: env.LIST_SIZE }),
      documents: Object.values(manifest ?? {}),
      logger,
      pause: pauseOf(waits.lookEveryMs ?? LOOK_EVERY_MS),
    }),
  );
  const { graph } = supergraph;
  health.tell("supergraph", () => supergraph.status());
  const trusted = createTrustedDocuments(manifest, !isDevelopment);
  const server = createServer({ graph, documents, activity, standing, limits, rates, measure, isDevelopment });
  const http = stack.adopt(
    await createFront({ health, nonces, allowedOrigins: env.ALLOWED_ORIGINS, logger }),
    (front) => front.close(),
  );
  serveGraphQL(http, { server, admissions, trusted, networkOf, logger });
  serveCheck(http, { admissions, networkOf });
  serveAccount(http, { session, userState, admissions, rates, networkOf, registry });
  serveTickets(http, { admissions, tickets, rates, networkOf });
  serveKeys(http, KEYS_PATH, () => session.get(KEYS_PATH));
  await serveOAuth(http, {
    session,
    proofs,
    issuer: env.TOKEN_ISSUER,
    publicUrl: () => publicUrl,
    keysPath: KEYS_PATH,
    rates,
    networkOf,
  });
  if (isDevelopment) serveGraphiQL(http);

  const subscriptions = createSubscriptions({
    graph,
    clients,
    pokes,
    relays,
    standing,
    documents,
    maxCost: limits.cost,
    hideSuggestions: !isDevelopment,
    logger,
    recheckMs: waits.recheckMs,
    backoffMs: waits.backoffMs,
  });
  const operations = createOperations({ server, subscriptions, standing, rates, trusted, documents, logger });
  const streaming = {
    operations,
    admissions,
    registry,
    rates,
    networkOf,
    logger,
    pingEveryMs: waits.pingEveryMs,
  };
  stack.use(serveEventStreams(http, streaming));
  const sockets = stack.use(createSocketServer(streaming));
  serveUpgrades(http.server, sockets, {
    allowedOrigins: env.ALLOWED_ORIGINS,
    networkOf,
    perNetwork: env.SOCKETS_PER_NETWORK,
    logger,
  });
  if (env.HEALTH_PORT !== undefined)
    stack.use(await startHealthPort({ host: env.HOST, port: env.HEALTH_PORT, health }));
  stack.defer(() => health.drain());

  const at = { host: env.HOST, port: env.PORT };
  const url = await http.listen(at).catch((cause: unknown) => {
    throw cannotListen(at, cause);
  });
  publicUrl ||= url;
  logger.info({ url }, "gateway is listening");
  const opened = stack.move();
  return { url, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}
