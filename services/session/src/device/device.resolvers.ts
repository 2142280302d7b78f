import { parseInput } from "@continuo/subgraph";
import { z } from "zod";
import type { Resolvers } from "../generated/graphql.ts";
import { decodeCursor, deviceNotFound, DeviceName, encodeCursor } from "./device.ts";

const First = z.number().int().min(1).max(100);
const Page = z.object({ first: First, after: z.string().max(256).nullish() });
const Changes = z.object({ first: First, since: z.string().max(64).nullish() });
const Rename = z.object({ name: DeviceName });
const Id = z.uuid();

export const deviceResolvers: Resolvers = {
  Query: {
    deviceChanges: async (_root, args, context) => {
      const { first, since } = parseInput(Changes, args);
      const { userId } = await context.liveSession();
      return context.devices.changes(userId, since ?? null, first);
    },
  },

  Viewer: {
    devices: async (session, args, context) => {
      const { first, after } = parseInput(Page, args);
      const range = { first, after: after == null ? null : decodeCursor(after) };
      const { totalCount, hasNextPage, devices } = await context.devicePage(session, range);
      const edges = devices.map((node) => ({ node, cursor: encodeCursor(node, session.deviceId) }));
      return {
        totalCount,
        pageInfo: { endCursor: edges.at(-1)?.cursor ?? null, hasNextPage },
        edges,
        nodes: [...devices],
      };
    },
  },

  Mutation: {
    renameDevice: async (_root, { id, name }, context) => {
      const input = parseInput(Rename, { name });
      const session = await context.liveSession();
      if (!Id.safeParse(id).success) throw deviceNotFound();
      const device = await context.devices.rename(session, id, input.name);
      context.reread();
      return device;
    },
  },

  Device: {
    __resolveReference: async ({ id }, context) => {
      if (context.caller.kind !== "viewer" || !Id.safeParse(id).success) return null;
      const { userId } = await context.liveSession();
      return (await context.device(id, userId)) ?? null;
    },
    name: ({ name, detectedName }) => name ?? detectedName,
    isCurrent: ({ id }, _args, context) => context.isCurrentDevice(id),
    sessions: async (device, { ended }, context) => context.sessionsOf(device, ended),
    signOut: async (device, _args, context) => context.signOutOf(device),
  },
};
