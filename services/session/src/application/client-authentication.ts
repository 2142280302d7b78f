/**
 * Client authentication (RFC 6749 section 2.3): by a secret, by an assertion or, for a public client, by its id alone.
 */
import { createHash } from "node:crypto";
import { AppError } from "@continuo/errors";
import { ApplicationId, isSecret, type Application, type ApplicationStore } from "./application.ts";
import { claimedBy, verifyClientAssertion, type ClientAssertion } from "./client-assertion.ts";

/** What a client presents. The id beside an assertion is the `client_id` parameter, if given. */
export type ClientCredentials =
  | { readonly id: string; readonly secret?: string | undefined }
  | { readonly id?: string | undefined; readonly assertion: string };

/** The part of an application that its requests depend on. */
export interface AuthenticatedClient extends Pick<Application, "id" | "mayIntrospect"> {
  /** Whether it has proved its identity; a public client has only named itself. */
  readonly isConfidential: boolean;
}

export interface AssertionStore {
  /** Remembers an assertion for all replicas, in one statement; false when it was used before. */
  use(id: Uint8Array, goodUntil: Date): Promise<boolean>;
}

/**
 * Returns the application that these credentials authenticate. Throws UNAUTHENTICATED/CLIENT_INVALID, with the same
 * message for an unknown client and for one that does not present what it is registered with: nothing, its secret, or
 * an unused assertion signed by its key. Public clients are cached for good, as no write
 * changes what is cached (`ApplicationStore`).
 */
export function createClientAuthentication(options: {
  applications: Pick<ApplicationStore, "find">;
  assertions: AssertionStore;
  issuer: string;
  now: () => Date;
}): (credentials: ClientCredentials) => Promise<AuthenticatedClient> {
  const { applications, assertions, issuer, now } = options;
  const publicClients = new Map<string, AuthenticatedClient>();

  async function find(id: string | undefined): Promise<Application> {
    const found = ApplicationId.safeParse(id).success && id !== undefined ? await applications.find(id) : undefined;
    if (found === undefined) throw clientInvalid("unknown");
    return found;
  }

  async function byName(id: string, secret: string | undefined): Promise<AuthenticatedClient> {
    const known = secret === undefined ? publicClients.get(id) : undefined;
    if (known) return known;
    const { mayIntrospect, secretHash, jwks } = await find(id);
    if (jwks !== null) throw clientInvalid("it has keys, and shows no assertion");
    if (secretHash === null && secret !== undefined) throw clientInvalid("it has no secret, and shows one");
    if (secretHash !== null && !isSecret(secret ?? "", secretHash)) throw clientInvalid("not its secret");
    const client = { id, mayIntrospect, isConfidential: secretHash !== null };
    if (secretHash === null) publicClients.set(id, client);
    return client;
  }

  async function byAssertion(assertion: string, named: string | undefined): Promise<AuthenticatedClient> {
    const clientId = claimedBy(assertion);
    if (named !== undefined && named !== clientId) throw clientInvalid("the assertion is not by client_id");
    const { id, mayIntrospect, jwks } = await find(clientId);
    if (jwks === null) throw clientInvalid("it has no keys, and shows an assertion");
    const good = await verifyClientAssertion(assertion, { clientId: id, keys: jwks, issuer, now: now() }).catch(
      (cause) => {
        throw clientInvalid("the assertion is not good", cause);
      },
    );
    if (!(await assertions.use(idOf(good), good.goodUntil))) throw clientInvalid("the assertion was used before");
    return { id, mayIntrospect, isConfidential: true };
  }

  return (credentials) =>
    "assertion" in credentials
      ? byAssertion(credentials.assertion, credentials.id)
      : byName(credentials.id, credentials.secret);
}

/** UNAUTHENTICATED/CLIENT_INVALID. `why` appears only in our log. */
export function clientInvalid(why: string, cause?: unknown): AppError {
  const message = "The client is unknown, or does not authenticate as it is registered.";
  return new AppError("UNAUTHENTICATED", "CLIENT_INVALID", message, { cause: new Error(why, { cause }) });
}

/** A fixed-size id, distinct for each client, whatever `jti` a client chooses. */
function idOf({ clientId, jti }: ClientAssertion): Buffer {
  return createHash("sha256")
    .update(JSON.stringify([clientId, jti]))
    .digest();
}
