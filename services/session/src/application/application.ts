/**
 * An application: an OAuth client (RFC 6749 section 2) under whose policy sessions live. One with a secret or keys is
 * confidential and proves possession of them with each request; the others are public and only give their client_id.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { AppError } from "@continuo/errors";
import { z } from "zod";
import { ClientKeys } from "./client-keys.ts";

/** The client_id of an application. */
export const ApplicationId = z.string().regex(/^[a-z0-9][a-z0-9._-]{0,62}$/, "lower-case letters, digits, . _ -");

/** A row of `applications`. */
export const Application = z.object({
  id: z.string(),
  name: z.string(),
  createdAt: z.date(),
  /** SHA-256 of its secret; null when it has none. */
  secretHash: z.custom<Uint8Array>((value) => value instanceof Uint8Array).nullable(),
  /** The public keys that verify its assertions; null when it has none. An application with keys has no secret. */
  jwks: ClientKeys.nullable(),
  /** May ask about tokens (RFC 7662). */
  mayIntrospect: z.boolean(),
  /** Notified of the end of each of its sessions. */
  backchannelLogoutUri: z.string().nullable(),
});
export type Application = z.infer<typeof Application>;

/**
 * Every write is one statement; false when the application does not exist or, for `add`, already does. No write removes
 * an application, makes a public one confidential, or lets it introspect.
 */
export interface ApplicationStore {
  find(id: string): Promise<Application | undefined>;
  /** By id. */
  list(): Promise<Application[]>;
  add(application: Application): Promise<boolean>;
  /** False also for an application without a secret: it neither becomes confidential nor loses its keys this way. */
  replaceSecretHash(id: string, secretHash: Uint8Array): Promise<boolean>;
  /** Replaces its keys or its secret. False also for a public application. */
  replaceJwks(id: string, jwks: ClientKeys): Promise<boolean>;
  setLogoutUri(id: string, uri: string | null): Promise<boolean>;
}

/** Lets secret scanners recognise client secrets. */
export const CLIENT_SECRET_PREFIX = "cnt_cs_";
const SECRET_BYTES = 32;

/** A new secret of 256 random bits, and the hash that is stored. */
export function createClientSecret(randomBytes: (count: number) => Buffer): { secret: string; secretHash: Buffer } {
  const secret = CLIENT_SECRET_PREFIX + randomBytes(SECRET_BYTES).toString("base64url");
  return { secret, secretHash: hashOf(secret) };
}

/** UNAUTHENTICATED/TOKEN_NOT_YOURS. */
export function tokenNotYours(): AppError {
  return new AppError("UNAUTHENTICATED", "TOKEN_NOT_YOURS", "The token was given to another client.");
}

/** Compares in constant time. */
export function isSecret(secret: string, secretHash: Uint8Array): boolean {
  return timingSafeEqual(hashOf(secret), secretHash);
}

function hashOf(secret: string): Buffer {
  return createHash("sha256").update(secret).digest();
}
