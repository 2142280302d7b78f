import { parseInput } from "@continuo/subgraph";
import { z } from "zod";
import type { Resolvers } from "../generated/graphql.ts";
import { decodePlace, encodePlace } from "./security-event.ts";

const Page = z.object({ first: z.number().int().min(1).max(100), after: z.string().max(256).nullish() });

export const auditResolvers: Resolvers = {
  Viewer: {
    securityEvents: async ({ userId }, args, context) => {
      const { first, after } = parseInput(Page, args);
      const before = after == null ? null : decodePlace(after);
      const { totalCount, hasNextPage, events } = await context.securityEvents(userId, first, before);
      const edges = events.map((node) => ({ node, cursor: encodePlace(node.seq) }));
      return {
        totalCount,
        pageInfo: { endCursor: edges.at(-1)?.cursor ?? null, hasNextPage },
        edges,
        nodes: [...events],
      };
    },
  },

  SecurityEvent: {
    place: ({ seq }) => seq,
    byOwner: ({ actorId, userId }) => actorId === userId,
    device: async ({ deviceId, userId }, _args, context) =>
      deviceId === null ? null : ((await context.device(deviceId, userId)) ?? null),
    session: async ({ sessionId, userId }, _args, context) =>
      sessionId === null ? null : ((await context.session(sessionId, userId)) ?? null),
    application: async ({ detail }, _args, context) =>
      detail?.applicationId === undefined
        ? null
        : ((await context.application(detail.applicationId)) ?? {
            id: detail.applicationId,
            name: detail.applicationId,
          }),
    reason: ({ detail }) => detail?.reason ?? null,
    hash: ({ hash }) => hash.toString("hex"),
  },
};
