/**
 * How a socket authenticates, in `connection_init` and in the pings that renew it: `authorization` as in the HTTP
 * header, or `ticket`. A token bound to a key needs a DPoP proof, which only HTTP carries; such clients use a ticket.
 */
import { AppError, isAppError } from "@continuo/errors";
import type { Admissions, ViewerAdmission } from "../caller.ts";

/** The payload of a message that may carry a credential. */
export interface Credential {
  readonly authorization?: unknown;
  readonly Authorization?: unknown;
  readonly ticket?: unknown;
}

export function isCredential(payload: Credential | undefined): payload is Credential {
  return payload?.authorization !== undefined || payload?.Authorization !== undefined || payload?.ticket !== undefined;
}

/**
 * Authenticates by a credential. Throws as `Admissions.admit` and `Admissions.redeem` do; UNAUTHENTICATED:
 * SIGN_IN_REQUIRED, TICKET_REQUIRED.
 */
export async function admitBy(admissions: Admissions, given: Credential | undefined): Promise<ViewerAdmission> {
  if (typeof given?.ticket === "string") return admissions.redeem(given.ticket);
  const authorization = given?.authorization ?? given?.Authorization;
  try {
    const admission = await admissions.admit(typeof authorization === "string" ? authorization : undefined);
    if (admission.claims) return admission;
  } catch (cause) {
    throw isAppError(cause) && cause.reason === "DPOP_REQUIRED" ? ticketRequired() : cause;
  }
  throw new AppError("UNAUTHENTICATED", "SIGN_IN_REQUIRED", "Sign in first.");
}

function ticketRequired(): AppError {
  const message = "The access token is bound to a key: ask for a ticket over HTTP, and send that.";
  return new AppError("UNAUTHENTICATED", "TICKET_REQUIRED", message);
}
