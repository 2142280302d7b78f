/**
 * An application: an OAuth client (RFC 6749 section 2) under whose policy sessions live. One with a secret or with keys is
 * confidential and proves with each request that it has them; the others are public, and their name is all that they say.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { AppError } from "@continuo/errors";
import { z } from "zod";
import { ClientKeys } from "./client-keys.ts";

/** What an application is called in requests: its client_id. */
export const ApplicationId = z.string().regex(/^[a-z0-9][a-z0-9._-]{0,62}$/, "lower-case letters, digits, . _ -");

/** A row of `applications`. */
export const Application = z.object({
  id: z.string(),
  name: z.string(),
  createdAt: z.date(),
  /** SHA-256 of its secret; null when it has none. */
  secretHash: z.custom<Uint8Array>((value) => value instanceof Uint8Array).nullable(),
  /** What its assertions are signed with; null when it has none. Who has keys has no secret. */
  jwks: ClientKeys.nullable(),
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
  /** False also for one that has no secret: it does not become confidential by the way, nor give up its keys. */
  replaceSecretHash(id: string, secretHash: Uint8Array): Promise<boolean>;
  /** In place of its keys or its secret. False also for one that has neither. */
  replaceJwks(id: string, jwks: ClientKeys): Promise<boolean>;
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

/** UNAUTHENTICATED/TOKEN_NOT_YOURS. */
export function tokenNotYours(): AppError {
  return new AppError("UNAUTHENTICATED", "TOKEN_NOT_YOURS", "The token was given to another client.");
}

/** In the same time, right or wrong. */
export function isSecret(secret: string, secretHash: Uint8Array): boolean {
  return timingSafeEqual(hashOf(secret), secretHash);
}

function hashOf(secret: string): Buffer {
  return createHash("sha256").update(secret).digest();
}
