/**
 * Whom a subscription's reads answer alike, when they ask alike. A read that is shared is made in the name of what those who
 * share it have in common: the owner is told no more, so that it cannot put into the answer what is somebody's own. A
 * person alone is asked for as one of their sessions.
 */
import type { Caller, Viewer } from "@continuo/access";
import { z } from "zod";

/** What of the viewer a topic may name. */
export const PLACES = ["userId", "sessionId", "deviceId", "applicationId"] as const;
type Place = (typeof PLACES)[number];

/** Everybody, all who use an application (the tenant of this house), a person there, the viewer alone. */
export const Scope = z.enum(["PUBLIC", "APPLICATION", "USER", "VIEWER"]);
export type Scope = z.output<typeof Scope>;

/** What those of a scope have in common. */
export const COMMON: Readonly<Record<Scope, readonly Place[]>> = {
  PUBLIC: [],
  APPLICATION: ["applicationId"],
  USER: ["applicationId", "userId"],
  VIEWER: PLACES,
};

/** In whose name the owner is asked for a viewer and all others in the scope: callers of the same key are asked for together. */
export interface SharedCaller {
  readonly caller: Caller;
  readonly key: string;
}

/** Undefined where the viewer shares with nobody. */
export function sharedCallerOf(scope: Scope, viewer: Viewer): SharedCaller | undefined {
  const { applicationId, userId, acr } = viewer;
  switch (scope) {
    case "PUBLIC":
      return { caller: { kind: "anonymous" }, key: scope };
    case "APPLICATION":
      return { caller: { kind: "application", applicationId }, key: JSON.stringify([scope, applicationId]) };
    case "USER":
      // What a subgraph shows to a strong sign-in alone is for those that are as strong.
      return { caller: { kind: "viewer", viewer }, key: JSON.stringify([scope, applicationId, userId, acr]) };
    case "VIEWER":
      return undefined;
  }
}
