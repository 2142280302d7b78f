import { requireViewer } from "@continuo/subgraph";
import { z } from "zod";
import type { Context } from "../context.ts";
import { deviceNotFound, type Device } from "../device/device.ts";
import type { Resolvers } from "../generated/graphql.ts";
import { sessionNotFound } from "../session/session.ts";
import { completedAt, type RevocationReceipt, type SignOut } from "./revocation.ts";

const Id = z.uuid();

async function devicesOf(ids: readonly string[], userId: string, context: Context): Promise<Device[]> {
  context.reread();
  const devices = await Promise.all(ids.map(async (id) => context.device(id, userId)));
  return devices.filter((device) => device !== undefined);
}

/**
 * Throws UNAUTHENTICATED/SESSION_ENDED when nothing was signed out because the viewer's own session had ended before.
 */
async function toPayload(
  { receipt, deviceIds }: SignOut,
  userId: string,
  context: Context,
): Promise<{ receipt: RevocationReceipt | null; devices: Device[] }> {
  const devices = await devicesOf(deviceIds, userId, context);
  if (receipt === undefined) await context.liveSession();
  return { receipt: receipt ?? null, devices };
}

export const revocationResolvers: Resolvers = {
  Query: {
    revocationReceipt: async (_root, { seq }, context) => {
      await context.liveSession();
      return context.revocations.receipt(requireViewer(context), seq);
    },
  },

  Mutation: {
    // The only operation allowed in an ended session, so that a repetition succeeds.
    signOut: async (_root, _args, context) => {
      const viewer = requireViewer(context);
      const { receipt, deviceIds } = await context.revocations.signOut(viewer);
      return { receipt: receipt ?? null, devices: await devicesOf(deviceIds, viewer.userId, context) };
    },

    signOutDevice: async (_root, { id }, context) => {
      const viewer = requireViewer(context);
      await (id === viewer.deviceId ? context.liveSession() : context.recentSession());
      if (!Id.safeParse(id).success) throw deviceNotFound();
      const payload = await toPayload(await context.revocations.signOutDevice(viewer, id), viewer.userId, context);
      if (payload.devices.length === 0) throw deviceNotFound();
      return payload;
    },

    signOutOtherDevices: async (_root, _args, context) => {
      const viewer = requireViewer(context);
      await context.recentSession();
      return toPayload(await context.revocations.signOutOtherDevices(viewer), viewer.userId, context);
    },

    signOutSession: async (_root, { id, andApproved }, context) => {
      const viewer = requireViewer(context);
      await (id === viewer.sessionId && !andApproved ? context.liveSession() : context.recentSession());
      if (!Id.safeParse(id).success || (await context.session(id, viewer.userId)) === undefined)
        throw sessionNotFound();
      return toPayload(await context.revocations.signOutSession(viewer, id, andApproved), viewer.userId, context);
    },

    undoSignOut: async (_root, { seq }, context) => {
      const viewer = requireViewer(context);
      await context.recentSession();
      const { receipt, sessions } = await context.undoSignOut(viewer, seq);
      context.reread();
      const back = new Set(sessions.filter(({ reason }) => reason === null).map(({ deviceId }) => deviceId));
      const devices = await Promise.all([...back].map(async (id) => context.requireDevice(id, viewer.userId)));
      const notRestored = await Promise.all(
        sessions.map(async ({ sessionId, reason }) => {
          const session = reason && (await context.session(sessionId, viewer.userId));
          return session ? [{ session, reason }] : [];
        }),
      );
      return { receipt: receipt ?? null, devices, notRestored: notRestored.flat() };
    },

    signOutEverywhere: async (_root, _args, context) => {
      const viewer = requireViewer(context);
      await context.recentSession();
      return toPayload(await context.revocations.signOutEverywhere(viewer), viewer.userId, context);
    },
  },

  RevocationReceipt: {
    seq: ({ seq }) => String(seq),
    acks: ({ acks, at }) => acks.map((ack) => ({ ...ack, latencyMs: ack.at.getTime() - at.getTime() })),
    pendingReplicas: ({ pendingReplicas }) => [...pendingReplicas],
    completedAt: (receipt) => completedAt(receipt),
  },
};
