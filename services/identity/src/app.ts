/** Composition root of the identity subgraph: wires its parts and opens and closes them in order. */
import { requestContextOf, createGrantSigner, createIdentityVerifier } from "@continuo/access";
import { startDatabase } from "@continuo/database";
import { createHealth, createLogger } from "@continuo/process";
import { applyUserEvents, eraseUserState, type Pokes, startOutboxRelay, startPokes } from "@continuo/signals";
import { startJobs } from "@continuo/signals/jobs";
import { DateTime, loadTypeDefs, startSubgraph, type Subgraph } from "@continuo/subgraph";
import { availableParallelism } from "node:os";
import { v7 as newId } from "uuid";
import type { Context } from "./context.ts";
import { PrismaClient } from "./database/generated/client.ts";
import type { Env } from "./env.ts";
import { createGrants } from "./grant/grant.ts";
import { announcePosted, SCHEMA } from "./outbox.ts";
import { createPasswordHasher } from "./password/argon2id.ts";
import { createChangePassword } from "./password/change-password.ts";
import { passwordResolvers } from "./password/password.resolvers.ts";
import { createPasswordStore } from "./password/password.store.ts";
import { createSignIn } from "./password/sign-in.ts";
import { createSignUp } from "./password/sign-up.ts";
import { createTurnstiles } from "./password/turnstile.ts";
import { userResolvers } from "./user/user.resolvers.ts";
import { createUserStore } from "./user/user.store.ts";
import { createUsers } from "./user/user.ts";

/** Leaves one of libuv's four threads free for file access and DNS. */
const HASHES_AT_ONCE = Math.min(availableParallelism(), 3);
const HASHES_WAITING = 100;

export interface Overrides {
  /** The process's pokes, when it runs more than this service. */
  readonly pokes?: Pokes;
}

/** Opens database, pokes and port, and serves until disposed. Relays the outbox meanwhile. */
export async function startApp(env: Env, { pokes: shared }: Overrides = {}): Promise<Subgraph> {
  const logger = createLogger({ name: "identity", level: env.LOG_LEVEL });
  const health = createHealth();
  await using opening = new AsyncDisposableStack();

  const { pool } = opening.use(
    await startDatabase({
      url: env.DATABASE_URL,
      schema: SCHEMA,
      PrismaClient,
      applicationName: "continuo-identity",
      poolSize: env.DATABASE_POOL_SIZE,
      log: logger,
    }),
  );
  health.add("database", async () => pool.query("SELECT 1"));
  // The outbox relay runs here, not in a worker: user events are rare.
  const bus = { databaseUrl: env.DATABASE_URL, redisUrl: env.REDIS_URL, logger };
  const pokes = shared ?? opening.use(await startPokes(bus));
  const jobs = opening.use(await startJobs(bus));
  const definitions = [applyUserEvents, eraseUserState];
  opening.use(await startOutboxRelay({ pool, schema: SCHEMA, jobs, definitions, pokes, logger }));

  const now = (): Date => new Date();
  const hasher = createPasswordHasher();
  const turnstiles = createTurnstiles({ parallel: HASHES_AT_ONCE, waiting: HASHES_WAITING });
  const store = createPasswordStore(pool);
  const grants = createGrants(createGrantSigner(env.GRANT_PRIVATE_KEY), newId);
  const posted = announcePosted(pokes);
  const userStore = createUserStore(pool);

  const subgraph = opening.use(
    await startSubgraph<Context>({
      name: "identity",
      host: env.HOST,
      port: env.PORT,
      typeDefs: loadTypeDefs(import.meta.dirname),
      resolvers: { DateTime, ...userResolvers, ...passwordResolvers },
      identity: createIdentityVerifier(env.GATEWAY_PUBLIC_KEY),
      health,
      logger,
      context: (base) => {
        const turnstile = turnstiles.of(requestContextOf(base.caller).ipPrefix);
        return {
          ...base,
          users: createUsers(userStore, base.caller),
          signUp: createSignUp({ store, hasher, turnstile, newId, now }),
          signIn: createSignIn({ store, hasher, turnstile, grants, now }),
          changePassword: createChangePassword({ store, hasher, turnstile, posted, now }),
        };
      },
    }),
  );

  const opened = opening.move();
  return { url: subgraph.url, local: subgraph.local, [Symbol.asyncDispose]: async () => opened.disposeAsync() };
}
