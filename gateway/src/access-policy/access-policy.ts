/**
 * Who may run an operation, by what the graph declares for its fields: decided once for the whole operation, over HTTP,
 * sockets and event streams alike, before any subgraph is asked. The subgraphs decide again.
 */
import { type AccessTokenClaims, acrSuffices } from "@continuo/access";
import { AppError } from "@continuo/errors";
import type { DocumentNode, GraphQLSchema } from "graphql";
import { perDocument } from "../plan/per-document.ts";
import { compileDemand } from "./compile-demand.ts";
import type { Declarations } from "./declarations.ts";
import type { Demand } from "./demand.ts";

/** Who asks, in the words of an access token. */
export type Shown = Pick<AccessTokenClaims, "scope" | "acr" | "auth_time" | "step_up">;

export interface AccessPolicy {
  /**
   * Judges who asks for an operation of a valid document. Throws UNAUTHENTICATED: SIGN_IN_REQUIRED; FORBIDDEN:
   * INSUFFICIENT_SCOPE (`details.scope`, RFC 6750 section 3); STEP_UP_REQUIRED: ACR_TOO_LOW, AUTHENTICATION_TOO_OLD (`details`
   * { acrValues, maxAge }, RFC 9470 section 3).
   */
  assert(document: DocumentNode, operationName: string | undefined, shown: Shown | undefined): void;
}

/** Over what clients see. `now` is milliseconds of the wall clock. */
export function createAccessPolicy(options: {
  schema: GraphQLSchema;
  declarations: Declarations;
  now?: () => number;
}): AccessPolicy {
  const { schema, declarations, now = Date.now } = options;
  const demandOf = perDocument((document, operationName) => ({
    demand: compileDemand({ schema, declarations }, document, operationName),
  }));
  return {
    assert(document, operationName, shown) {
      const { demand } = demandOf(document, operationName);
      if (demand) assertMet(demand, shown, now() / 1_000);
    },
  };
}

/** Throws as `AccessPolicy.assert` does. `now` is seconds since the epoch. */
export function assertMet({ scopes, acr, maxAge, isRecent }: Demand, shown: Shown | undefined, now: number): void {
  if (!shown) throw new AppError("UNAUTHENTICATED", "SIGN_IN_REQUIRED", "Sign in first.");
  const granted = new Set(shown.scope.split(" "));
  const missing = scopes.filter((choice) => !choice.some((all) => all.every((scope) => granted.has(scope))));
  if (missing.length > 0) {
    const scope = [...new Set(missing.flatMap(([first = []]) => first))].join(" ");
    throw new AppError("FORBIDDEN", "INSUFFICIENT_SCOPE", "The token does not have the required scope.", {
      details: { scope },
    });
  }
  // Without the claim, a token of a former version, the subgraph alone decides what is recent.
  const oldest = Math.min(maxAge ?? Infinity, (isRecent ? shown.step_up : undefined) ?? Infinity);
  const details = { ...(oldest < Infinity && { maxAge: oldest }), acrValues: [acr ?? shown.acr] };
  if (!acrSuffices(shown.acr, acr ?? null))
    throw new AppError("STEP_UP_REQUIRED", "ACR_TOO_LOW", "This needs a stronger sign-in.", { details });
  if (now - shown.auth_time > oldest)
    throw new AppError("STEP_UP_REQUIRED", "AUTHENTICATION_TOO_OLD", "Sign in again to do this.", { details });
}
