/** What an operator does with applications. A secret is shown once, when created; it can be replaced but not read. */
import { AppError } from "@continuo/errors";
import { z } from "zod";
import { ApplicationId, createClientSecret, type Application, type ApplicationStore } from "./application.ts";
import { ClientKeys, keyIdsOf } from "./client-keys.ts";

/** Where an application is notified of its ended sessions: https, or a loopback address for development. */
export const LogoutUri = z.string().refine((text) => {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname, hash } = new URL(text);
  const isHere = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(hostname);
  return hash === "" && (protocol === "https:" || (protocol === "http:" && isHere));
}, "must be an https address without a fragment (OpenID Connect Back-Channel Logout 1.0 section 2.2)");

/** An application as an operator describes it. A confidential one without keys gets a secret. */
export const ApplicationInput = z
  .object({
    id: ApplicationId,
    name: z.string().trim().min(1).max(128),
    isConfidential: z.boolean(),
    jwks: ClientKeys.nullable(),
    mayIntrospect: z.boolean(),
    backchannelLogoutUri: LogoutUri.nullable(),
  })
  .refine(({ isConfidential, jwks }) => isConfidential || jwks === null, {
    path: ["jwks"],
    error: "only a confidential application has keys",
  })
  .refine(({ isConfidential, mayIntrospect }) => isConfidential || !mayIntrospect, {
    path: ["mayIntrospect"],
    error: "only a confidential application may introspect",
  });
export type ApplicationInput = z.infer<typeof ApplicationInput>;

/** An application as an operator sees it. */
export interface ApplicationSummary extends Omit<ApplicationInput, "jwks"> {
  /** The `kid` of each key; null when it has none. */
  readonly keyIds: readonly string[] | null;
  readonly createdAt: Date;
}

/** How an application's keys change, by `kid`. */
export interface KeyChange {
  readonly keyIds: readonly string[];
  readonly added: readonly string[];
  readonly removed: readonly string[];
  /** Whether it had a secret until now. */
  readonly replacesSecret: boolean;
}

export interface Applications {
  list(): Promise<ApplicationSummary[]>;
  /**
   * Registers an application and returns the secret of a confidential one without keys. Nobody can sign in to it before
   * it has an active policy. Throws CONFLICT/APPLICATION_EXISTS.
   */
  add(input: ApplicationInput): Promise<{ application: ApplicationSummary; secret: string | null }>;
  /** Throws as `add` would. */
  tryAdd(input: ApplicationInput): Promise<void>;
  /**
   * Replaces the secret; the old one is refused at once. Throws NOT_FOUND/APPLICATION_NOT_FOUND, CONFLICT:
   * APPLICATION_PUBLIC, APPLICATION_HAS_KEYS.
   */
  rotateSecret(id: string): Promise<string>;
  /** Throws as `rotateSecret` would. */
  trySecret(id: string): Promise<void>;
  /** What `setKeys` would change. Throws as it does. */
  tryKeys(id: string, keys: ClientKeys): Promise<KeyChange>;
  /**
   * Makes these keys the application's only credentials. Throws NOT_FOUND/APPLICATION_NOT_FOUND,
   * CONFLICT/APPLICATION_PUBLIC.
   */
  setKeys(id: string, keys: ClientKeys): Promise<void>;
  /** Null removes the address. Throws NOT_FOUND/APPLICATION_NOT_FOUND. */
  setLogoutUri(id: string, uri: string | null): Promise<void>;
  /** Throws as `setLogoutUri` would. */
  tryLogoutUri(id: string): Promise<void>;
}

/** Wires the use cases. */
export function createApplications(options: {
  store: ApplicationStore;
  randomBytes: (count: number) => Buffer;
  now: () => Date;
}): Applications {
  const { store, randomBytes, now } = options;

  async function find(id: string): Promise<Application> {
    const found = await store.find(id);
    if (found === undefined) throw notFound();
    return found;
  }

  return {
    list: async () => (await store.list()).map((application) => summaryOf(application)),

    async add({ isConfidential, ...input }) {
      const made = isConfidential && input.jwks === null ? createClientSecret(randomBytes) : undefined;
      const application = { ...input, createdAt: now(), secretHash: made?.secretHash ?? null };
      if (!(await store.add(application))) throw exists();
      return { application: summaryOf(application), secret: made?.secret ?? null };
    },

    async tryAdd({ id }) {
      if ((await store.find(id)) !== undefined) throw exists();
    },

    async rotateSecret(id) {
      const { secret, secretHash } = createClientSecret(randomBytes);
      if (await store.replaceSecretHash(id, secretHash)) return secret;
      throw withoutSecret(await find(id));
    },

    async trySecret(id) {
      const found = await find(id);
      if (found.secretHash === null) throw withoutSecret(found);
    },

    async tryKeys(id, keys) {
      const found = await find(id);
      if (!isConfidential(found)) throw isPublic();
      const [before, after] = [found.jwks === null ? [] : keyIdsOf(found.jwks), keyIdsOf(keys)];
      return {
        keyIds: after,
        added: after.filter((kid) => !before.includes(kid)),
        removed: before.filter((kid) => !after.includes(kid)),
        replacesSecret: found.secretHash !== null,
      };
    },

    async setKeys(id, keys) {
      if (await store.replaceJwks(id, keys)) return;
      await find(id);
      throw isPublic();
    },

    async setLogoutUri(id, uri) {
      if (!(await store.setLogoutUri(id, uri))) throw notFound();
    },

    async tryLogoutUri(id) {
      await find(id);
    },
  };
}

function summaryOf(application: Application): ApplicationSummary {
  const { secretHash: _, jwks, ...rest } = application;
  return { ...rest, isConfidential: isConfidential(application), keyIds: jwks === null ? null : keyIdsOf(jwks) };
}

function isConfidential({ secretHash, jwks }: Application): boolean {
  return secretHash !== null || jwks !== null;
}

function exists(): AppError {
  return new AppError("CONFLICT", "APPLICATION_EXISTS", "There is an application with this id already.");
}

function withoutSecret({ jwks }: Application): AppError {
  if (jwks === null) return isPublic();
  return new AppError(
    "CONFLICT",
    "APPLICATION_HAS_KEYS",
    "The application authenticates with keys, so it takes no secret.",
  );
}

function notFound(): AppError {
  return new AppError("NOT_FOUND", "APPLICATION_NOT_FOUND", "There is no such application.");
}

function isPublic(): AppError {
  return new AppError("CONFLICT", "APPLICATION_PUBLIC", "A public application takes no credentials.");
}
