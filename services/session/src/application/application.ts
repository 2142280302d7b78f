/**
 * An application: an OAuth client (RFC 6749 section 2) under whose policy sessions live. One with a secret is
 * confidential and shows it with each request; the others are public, and their name is all that they say.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { AppError } from "@continuo/errors";
import { z } from "zod";

/** What an application is called in requests: its client_id. */
export const ApplicationId = z.string().regex(/^[a-z0-9][a-z0-9._-]{0,62}$/, "lower-case letters, digits, . _ -");

/** A row of `applications`. */
export const Application = z.object({
  id: z.string(),
  name: z.string(),
  createdAt: z.date(),
  /** SHA-256 of its secret; null for a public client. */
  secretHash: z.custom<Uint8Array>((value) => value instanceof Uint8Array).nullable(),
  /** May ask about tokens (RFC 7662). */
  mayIntrospect: z.boolean(),
  /** Told of each of its sessions that ends. */
  backchannelLogoutUri: z.string().nullable(),
});
export type Application = z.infer<typeof Application>;

/**
 * Every write is one statement; false when there is no such application, or when there already is. None takes an
 * application away, makes a public one confidential, or lets it introspect.
 */
export interface ApplicationStore {
  find(id: string): Promise<Application | undefined>;
  /** By id. */
  list(): Promise<Application[]>;
  add(application: Application): Promise<boolean>;
  /** False also for one that has no secret: it does not become confidential by the way. */
  replaceSecretHash(id: string, secretHash: Uint8Array): Promise<boolean>;
  setLogoutUri(id: string, uri: string | null): Promise<boolean>;
}

/** Recognised by secret scanners. */
export const CLIENT_SECRET_PREFIX = "cnt_cs_";
const SECRET_BYTES = 32;

/** A new secret of 256 random bits, and what is kept of it. */
export function createClientSecret(randomBytes: (count: number) => Buffer): { secret: string; secretHash: Buffer } {
  const secret = CLIENT_SECRET_PREFIX + randomBytes(SECRET_BYTES).toString("base64url");
  return { secret, secretHash: hashOf(secret) };
}

/** What a client says of itself. */
export interface ClientCredentials {
  readonly id: string;
  readonly secret?: string | undefined;
}

/** An application as far as its requests go. */
export type AuthenticatedClient = Pick<Application, "id" | "mayIntrospect">;

/**
 * The application that shows these credentials. Throws UNAUTHENTICATED/CLIENT_INVALID, the same for an unknown one, a
 * wrong secret, none where one is needed, and one where none is. Public clients are asked for once: they stay, as they
 * are (`ApplicationStore`), and their name is all that they say.
 */
export function createClientAuthentication(
  store: Pick<ApplicationStore, "find">,
): (credentials: ClientCredentials) => Promise<AuthenticatedClient> {
  const publicClients = new Map<string, AuthenticatedClient>();
  return async ({ id, secret }) => {
    const known = secret === undefined ? publicClients.get(id) : undefined;
    if (known) return known;
    const found = ApplicationId.safeParse(id).success ? await store.find(id) : undefined;
    if (found === undefined || !isShown(secret, found.secretHash)) throw clientInvalid();
    const client = { id, mayIntrospect: found.mayIntrospect };
    if (found.secretHash === null) publicClients.set(id, client);
    return client;
  };
}

/** UNAUTHENTICATED/CLIENT_INVALID. */
export function clientInvalid(): AppError {
  return new AppError("UNAUTHENTICATED", "CLIENT_INVALID", "The client is unknown, or its secret is wrong or missing.");
}

/** UNAUTHENTICATED/TOKEN_NOT_YOURS. */
export function tokenNotYours(): AppError {
  return new AppError("UNAUTHENTICATED", "TOKEN_NOT_YOURS", "The token was given to another client.");
}

function isShown(secret: string | undefined, secretHash: Uint8Array | null): boolean {
  if (secretHash === null || secret === undefined) return secretHash === null && secret === undefined;
  return timingSafeEqual(hashOf(secret), secretHash);
}

function hashOf(secret: string): Buffer {
  return createHash("sha256").update(secret).digest();
}
