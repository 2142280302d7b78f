/** What this service's resolvers use, created per request: the caller, and batched reads on their behalf. */
import { requestContextOf, type Viewer } from "@continuo/access";
import { requireViewer, type SubgraphContext } from "@continuo/subgraph";
import DataLoader from "dataloader";
import type { AuditStore } from "./audit/security-event.ts";
import type { AuthenticatedClient, ClientCredentials } from "./application/client-authentication.ts";
import { deviceNotFound, type Device, type Devices, type DeviceStore } from "./device/device.ts";
import { signOutOf, type DeviceSignOut, type SignOutStore } from "./device/sign-out.ts";
import type { OAuth } from "./oauth/oauth.ts";
import type { Policy, PolicyKey, PolicyStore } from "./policy/policy.ts";
import type { Undo } from "./revocation/undo.ts";
import type { Revocations } from "./revocation/revocation.ts";
import { sessionEnded, standingOf, type Session, type SessionStore } from "./session/session.ts";
import type { StartSessionRequest } from "./session/start-session.ts";
import { assertRecentAuthentication, type StepUpRequest } from "./step-up/step-up.ts";
import type { Rotation, SessionTokens } from "./token/rotation.ts";

/** The use cases and reads that all requests share. */
export interface SessionService {
  readonly stores: {
    readonly devices: DeviceStore;
    readonly sessions: SessionStore;
    readonly signOuts: SignOutStore;
    readonly policies: PolicyStore;
  };
  readonly devices: Devices;
  readonly revocations: Revocations;
  readonly undoSignOut: (viewer: Viewer, seq: string) => Promise<Undo>;
  readonly startSession: (request: StartSessionRequest) => Promise<SessionTokens>;
  readonly rotation: Rotation;
  readonly stepUp: (request: StepUpRequest, logger: SubgraphContext["logger"]) => Promise<SessionTokens>;
  readonly oauth: OAuth;
  readonly authenticateClient: (credentials: ClientCredentials) => Promise<AuthenticatedClient>;
  readonly securityEvents: AuditStore["page"];
  readonly now: () => Date;
}

export interface Context extends SubgraphContext, Omit<SessionService, "stores"> {
  /** The time at which the request is evaluated. */
  readonly at: Date;
  /** Thumbprint of the key whose DPoP proof came with the request. */
  readonly jkt: string | undefined;
  /** Where the request came from, coarsely. */
  readonly ipPrefix: string | undefined;
  /**
   * The viewer's own, live session. Throws UNAUTHENTICATED: SIGN_IN_REQUIRED, SESSION_ENDED. Every operation of a
   * viewer begins with it, as the gateway may not have heard of the session's end yet.
   */
  liveSession(): Promise<Session>;
  /** Like `liveSession`, for sensitive operations: also throws STEP_UP_REQUIRED/AUTHENTICATION_TOO_OLD (RFC 9470). */
  recentSession(): Promise<Session>;
  /** Treats the session as the caller's own for the rest of the request: its tokens were just presented or issued. */
  adopt(session: Session): void;
  /** Clears the batched reads after a change. */
  reread(): void;
  isCurrentSession(id: string): boolean;
  isCurrentDevice(id: string): boolean;
  /** Undefined also when the session is not this user's. */
  session(id: string, userId: string): Promise<Session | undefined>;
  device(id: string, userId: string): Promise<Device | undefined>;
  /** Like `device`, but throws NOT_FOUND/DEVICE_NOT_FOUND. */
  requireDevice(id: string, userId: string): Promise<Device>;
  sessionsOf(device: Device, withEnded: boolean): Promise<Session[]>;
  signOutOf(device: Device): Promise<DeviceSignOut | null>;
  application(id: string): Promise<{ id: string; name: string } | undefined>;
  /** The version of its application's policy that a session lives under. */
  policyOf(session: Session): Promise<Policy>;
  /** A page of devices, starting after `after`. */
  devicePage: (session: Session, range: Parameters<DeviceStore["page"]>[2]) => ReturnType<DeviceStore["page"]>;
}

/** Ended sessions are shown for this long. Milliseconds. */
const SHOWN_MS = 28 * 24 * 3_600_000;

/** The context of one request. */
export function createContext(base: SubgraphContext, service: SessionService): Context {
  const { stores, ...shared } = service;
  const at = service.now();
  const { jkt, ipPrefix } = requestContextOf(base.caller);
  const own = new Set(base.caller.kind === "viewer" ? [base.caller.viewer.sessionId, base.caller.viewer.deviceId] : []);
  const sessions = new DataLoader((ids: readonly string[]) => stores.sessions.byIds(ids));
  const devices = new DataLoader((ids: readonly string[]) => stores.devices.byIds(ids, at));
  const applications = new DataLoader((ids: readonly string[]) => stores.policies.applications(ids));
  const policies = new DataLoader((keys: readonly PolicyKey[]) => stores.policies.versions(keys), {
    cacheKeyFn: ({ applicationId, version }) => `${version} ${applicationId}`,
  });
  const liveSessions = new DataLoader((ids: readonly string[]) => stores.sessions.byDevices(ids, at, null));
  const endedSince = new Date(at.getTime() - SHOWN_MS);
  const allSessions = new DataLoader((ids: readonly string[]) => stores.sessions.byDevices(ids, at, endedSince));
  const signOuts = new DataLoader(async (ids: readonly string[]) => {
    const [last, replicas] = await Promise.all([stores.signOuts.lastSessions(ids), stores.signOuts.replicas()]);
    return last.map((each) => (each === undefined ? null : signOutOf(each, replicas, at)));
  });

  async function device(id: string, userId: string): Promise<Device | undefined> {
    const found = await devices.load(id);
    return found?.userId === userId ? found : undefined;
  }
  async function session(id: string, userId: string): Promise<Session | undefined> {
    const found = await sessions.load(id);
    return found?.userId === userId ? found : undefined;
  }

  const context: Context = {
    ...base,
    ...shared,
    at,
    jkt,
    ipPrefix,
    async liveSession() {
      const viewer = requireViewer(context);
      const found = await session(viewer.sessionId, viewer.userId);
      if (found === undefined) throw sessionEnded(null);
      const standing = standingOf(found, at);
      if (standing.state !== "ACTIVE") throw sessionEnded(standing.endReason);
      return found;
    },
    async recentSession() {
      const found = await context.liveSession();
      assertRecentAuthentication(found, await context.policyOf(found), at);
      return found;
    },
    adopt({ id, deviceId }) {
      own.add(id).add(deviceId);
    },
    reread() {
      for (const loader of [sessions, devices, liveSessions, allSessions, signOuts]) loader.clearAll();
    },
    isCurrentSession: (id) => own.has(id),
    isCurrentDevice: (id) => own.has(id),
    session,
    device,
    async requireDevice(id, userId) {
      const found = await device(id, userId);
      if (found === undefined) throw deviceNotFound();
      return found;
    },
    sessionsOf: ({ id }, withEnded) => (withEnded ? allSessions : liveSessions).load(id),
    signOutOf: async ({ id, isSignedIn }) => (isSignedIn ? null : signOuts.load(id)),
    application: (id) => applications.load(id),
    async policyOf({ applicationId, policyVersion }) {
      const found = await policies.load({ applicationId, version: policyVersion });
      if (found === undefined) throw new Error("a session's policy is not there");
      return found;
    },
    async devicePage({ userId, deviceId }, range) {
      const page = await stores.devices.page(userId, deviceId, range, at);
      for (const { liveSessions: live, ...found } of page.devices) {
        devices.prime(found.id, found);
        liveSessions.prime(found.id, live);
      }
      return page;
    },
  };
  return context;
}
