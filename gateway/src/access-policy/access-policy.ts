/**
 * Decides who may run an operation, from what the graph declares for its fields: once for the whole operation, the same
 * way over HTTP, WebSockets and event streams, before any subgraph is called. The subgraphs check again.
 */
import { type AccessTokenClaims, acrSuffices } from "@continuo/access";
import { AppError } from "@continuo/errors";
import type { DocumentNode, GraphQLSchema } from "graphql";
import { perDocument } from "../plan/per-document.ts";
import { compileDemand } from "./compile-demand.ts";
import type { Declarations } from "./declarations.ts";
import type { Demand } from "./demand.ts";

/** The access token claims that authorization depends on. */
export type Shown = Pick<AccessTokenClaims, "scope" | "acr" | "auth_time" | "step_up">;

export interface AccessPolicy {
  /**
   * Checks the caller's claims against what an operation of a valid document demands. Throws UNAUTHENTICATED:
   * SIGN_IN_REQUIRED; FORBIDDEN: INSUFFICIENT_SCOPE (`details.scope`, RFC 6750 section 3); STEP_UP_REQUIRED:
   * ACR_TOO_LOW, AUTHENTICATION_TOO_OLD (`details` { acrValues, maxAge }, RFC 9470 section 3).
   */
  assert(document: DocumentNode, operationName: string | undefined, shown: Shown | undefined): void;
}

/** Creates the policy for the API schema. `now` is wall-clock milliseconds. */
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
  // Tokens from an earlier version lack the claim; for them only the subgraph decides what counts as recent.
  const oldest = Math.min(maxAge ?? Infinity, (isRecent ? shown.step_up : undefined) ?? Infinity);
  const details = { ...(oldest < Infinity && { maxAge: oldest }), acrValues: [acr ?? shown.acr] };
  if (!acrSuffices(shown.acr, acr ?? null))
    throw new AppError("STEP_UP_REQUIRED", "ACR_TOO_LOW", "This needs a stronger sign-in.", { details });
  if (now - shown.auth_time > oldest)
    throw new AppError("STEP_UP_REQUIRED", "AUTHENTICATION_TOO_OLD", "Sign in again to do this.", { details });
}
