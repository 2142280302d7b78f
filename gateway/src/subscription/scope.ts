/**
 * Which viewers get the same answer from a subscription's read. A shared read is made as the caller that they have in
 * common: the owner learns no more, so it cannot put anybody's own data into the answer. Only for scope USER does it
 * run as one of the user's sessions.
 */
import type { Caller, Viewer } from "@continuo/access";
import { z } from "zod";

/** The parts of the viewer that a topic may name. */
export const PLACES = ["userId", "sessionId", "deviceId", "applicationId"] as const;
type Place = (typeof PLACES)[number];

/** Everybody, all users of an application (a tenant here), one user of an application, or the viewer's session only. */
export const Scope = z.enum(["PUBLIC", "APPLICATION", "USER", "VIEWER"]);
export type Scope = z.output<typeof Scope>;

/** What the viewers in a scope have in common. */
export const COMMON: Readonly<Record<Scope, readonly Place[]>> = {
  PUBLIC: [],
  APPLICATION: ["applicationId"],
  USER: ["applicationId", "userId"],
  VIEWER: PLACES,
};

/** The caller for a read shared by all viewers in a scope; callers with the same `key` share reads. */
export interface SharedCaller {
  readonly caller: Caller;
  readonly key: string;
}

/** Undefined if the viewer shares with nobody. */
export function sharedCallerOf(scope: Scope, viewer: Viewer): SharedCaller | undefined {
  const { applicationId, userId, acr } = viewer;
  switch (scope) {
    case "PUBLIC":
      return { caller: { kind: "anonymous" }, key: scope };
    case "APPLICATION":
      return { caller: { kind: "application", applicationId }, key: JSON.stringify([scope, applicationId]) };
    case "USER":
      // A subgraph may show some data only to strong sign-ins, so only equal strengths share.
      return { caller: { kind: "viewer", viewer }, key: JSON.stringify([scope, applicationId, userId, acr]) };
    case "VIEWER":
      return undefined;
  }
}
