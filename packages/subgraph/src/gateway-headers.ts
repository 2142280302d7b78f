/** Headers that the gateway sends with everything: its signed statement about the caller, and the request id. */
import { type Caller, IDENTITY_HEADER, type IdentityVerifier, REQUEST_ID_HEADER } from "@continuo/access";
import { randomUUID } from "node:crypto";

type Headers = Readonly<Record<string, unknown>>;

const REQUEST_ID = /^[\w-]{1,64}$/;

/** The verified caller. Throws UNAUTHENTICATED/INTERNAL_IDENTITY_REQUIRED. */
export function callerOf(identity: IdentityVerifier, headers: Headers): Promise<Caller> {
  const statement = headers[IDENTITY_HEADER];
  return identity.verify(typeof statement === "string" ? statement : undefined);
}

/** The request id; a new one if there is none. */
export function requestIdOf(headers: Headers): string {
  const id = headers[REQUEST_ID_HEADER];
  return typeof id === "string" && REQUEST_ID.test(id) ? id : randomUUID();
}
