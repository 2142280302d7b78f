/** Composition root of the session subgraph: wires its parts and opens and closes them in order. */
import { randomBytes } from "node:crypto";
import { createAccessTokenVerifier, createGrantVerifier, createIdentityVerifier } from "@continuo/access";
import { startDatabase } from "@continuo/database";
import { createHealth, createLogger } from "@continuo/process";
import { type Pokes, SIGNING_KEYS_TOPIC, startPokes } from "@continuo/signals";
import { loadTypeDefs, startSubgraph, type Subgraph } from "@continuo/subgraph";
import { createLocalJWKSet } from "jose";
import { v4 as newDeviceId, v7 as newId } from "uuid";
import { createActivity } from "./activity/activity.ts";
import { createActivityStore } from "./activity/activity.store.ts";
import { createApplicationStore } from "./application/application.store.ts";
import { createAssertionStore } from "./application/assertion.store.ts";
import { createClientAuthentication } from "./application/client-authentication.ts";
import { createAnnouncer, SCHEMA } from "./announce.ts";
import { createAuditRoutes } from "./audit-routes.ts";
import { createAuditStore } from "./audit/audit.store.ts";
import { createExport } from "./audit/export.ts";
import { createHeadSigner } from "./audit/head.ts";
import { createContext, type Context, type SessionService } from "./context.ts";
import { PrismaClient } from "./database/generated/client.ts";
import { createDevices } from "./device/device.ts";
import { createDeviceStore } from "./device/device.store.ts";
import { createSignOutStore } from "./device/sign-out.store.ts";
import type { Env } from "./env.ts";
import { createSeal } from "./master-key/seal.ts";
import { createOAuth } from "./oauth/oauth.ts";
import { createPresentedTokens } from "./oauth/presented-token.ts";
import { openPlaces } from "./place/countries.ts";
import { createPolicyStore } from "./policy/policy.store.ts";
import { resolvers } from "./resolvers.ts";
import { createFeed } from "./revocation/feed.ts";
import { createFeedStore } from "./revocation/feed.store.ts";
import { createRevocations } from "./revocation/revocation.ts";
import { createRevocationStore } from "./revocation/revocation.store.ts";
import { createUndoSignOut } from "./revocation/undo.ts";
import { createUndoStore } from "./revocation/undo.store.ts";
import { createRoutes } from "./routes.ts";
import { createSessionStore } from "./session/session.store.ts";
import { createStartSession } from "./session/start-session.ts";
import { createStartSessionStore } from "./session/start-session.store.ts";
import { createKeyRing } from "./signing-key/key-ring.ts";
import { SIGNING_KEY_SEAL } from "./signing-key/signing-key.ts";
import { createSigningKeyStore } from "./signing-key/signing-key.store.ts";
import { createAccessTokenMinter } from "./token/access-token.ts";
import { createRefreshTokenCodec } from "./token/refresh-token.ts";
import { createStepUp } from "./step-up/step-up.ts";
import { createStepUpStore } from "./step-up/step-up.store.ts";
import { createRotation } from "./token/rotation.ts";
import { createRotationStore } from "./token/rotation.store.ts";

export interface Overrides {
  /** Replaces the clocks of the process and of the database in every rule. */
  readonly now?: () => Date;
  /** The process's pokes, when it runs more than this service. */
  readonly pokes?: Pokes;
}

/** Opens database, pokes and port, and serves until disposed. */
export async function startApp(env: Env, { now: clock, pokes: shared }: Overrides = {}): Promise<Subgraph> {
  const now = clock ?? (() => new Date());
  const logger = createLogger({ name: "session", level: env.LOG_LEVEL });
  const health = createHealth();
  await using opening = new AsyncDisposableStack();

  const { prisma, pool } = opening.use(
    await startDatabase({
      url: env.DATABASE_URL,
      schema: SCHEMA,
      PrismaClient,
      applicationName: "continuo-session",
      poolSize: env.DATABASE_POOL_SIZE,
      log: logger,
    }),
  );
  health.add("database", async () => pool.query("SELECT 1"));
  const bus = { databaseUrl: env.DATABASE_URL, redisUrl: env.REDIS_URL, logger };
  const pokes = shared ?? opening.use(await startPokes(bus));
  const announce = createAnnouncer(pokes);

  const policies = createPolicyStore(pool);
  const devices = createDeviceStore(pool);
  const keys = createSigningKeyStore(pool);
  const keyRing = createKeyRing({
    store: keys,
    seal: createSeal({ masterKeys: env.MASTER_KEY, purpose: SIGNING_KEY_SEAL, randomBytes }),
    now,
  });
  const token = { issuer: env.TOKEN_ISSUER, audience: env.TOKEN_AUDIENCE };
  const verifier = createAccessTokenVerifier({
    ...token,
    keys: async (header, jws) => createLocalJWKSet({ keys: await keys.published() })(header, jws),
    now,
  });
  const lookAgain = (): void => {
    keyRing.forget();
    verifier.forget();
  };
  opening.use(await pokes.subscribe(SIGNING_KEYS_TOPIC, { onPoke: lookAgain, onGap: lookAgain }));
  // Fail the start on a wrong MASTER_KEY.
  await keyRing.current();
  const accessTokens = createAccessTokenMinter({
    keys: keyRing,
    ...token,
    random: Math.random,
    createId: newId,
  });
  const refreshTokens = createRefreshTokenCodec(env.MASTER_KEY);
  const revocations = createRevocations({
    store: createRevocationStore(pool, prisma),
    announce,
    now,
  });

  const grants = createGrantVerifier(env.GRANT_PUBLIC_KEY);
  const rotationStore = createRotationStore(pool, clock);
  const rotation = createRotation({
    store: rotationStore,
    accessTokens,
    refreshTokens,
    endForReuse: (session) => revocations.endForReuse(session),
    now,
  });

  const audit = createAuditStore(pool);
  const placeOf = openPlaces();

  const sessions = createSessionStore(pool);
  const startSession = createStartSession({
    grants,
    policies,
    store: createStartSessionStore(pool),
    announce,
    accessTokens,
    refreshTokens,
    placeOf,
    createId: newId,
    createDeviceId: newDeviceId,
    randomBytes,
    now,
  });

  const service: SessionService = {
    stores: { devices, policies, sessions, signOuts: createSignOutStore(pool) },
    devices: createDevices({ store: devices, announce, now }),
    revocations,
    undoSignOut: createUndoSignOut({ store: createUndoStore(pool), announce, now }),
    startSession,
    rotation,
    stepUp: createStepUp({
      grants,
      policies,
      rotation,
      store: createStepUpStore(pool),
      announce,
      accessTokens,
      refreshTokens,
      createId: newId,
      randomBytes,
      now,
    }),
    oauth: createOAuth({
      ...token,
      rotation,
      startSession,
      revocations,
      presentedTokens: createPresentedTokens({ accessTokens: verifier, refreshTokens, grants: rotationStore, now }),
    }),
    authenticateClient: createClientAuthentication({
      applications: createApplicationStore(pool, prisma),
      assertions: createAssertionStore(pool),
      issuer: env.TOKEN_ISSUER,
      now,
    }),
    securityEvents: (userId, first, before) => audit.page(userId, first, before),
    now,
  };

  const routes = createRoutes({
    keys,
    feed: createFeed({ store: createFeedStore(pool), announce, now }),
    activity: createActivity({ store: createActivityStore(pool), announce, placeOf, now }),
  });
  const auditRoutes = createAuditRoutes({
    exportOf: createExport({ store: audit, sign: createHeadSigner({ keys: keyRing, issuer: env.TOKEN_ISSUER }), now }),
    service,
    logger,
  });

  const subgraph = opening.use(
    await startSubgraph<Context>({
      name: "session",
      host: env.HOST,
      port: env.PORT,
      typeDefs: loadTypeDefs(import.meta.dirname),
      resolvers,
      identity: createIdentityVerifier(env.GATEWAY_PUBLIC_KEY),
      health,
      logger,
      context: (base) => createContext(base, service),
      routes: (http, callerOf) => {
        routes(http, callerOf);
        auditRoutes(http, callerOf);
      },
    }),
  );

  const opened = opening.move();
  return { url: subgraph.url, local: subgraph.local, [Symbol.asyncDispose]: async () => opened.disposeAsync() };
}
