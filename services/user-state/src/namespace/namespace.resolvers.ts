import { requireViewer } from "@continuo/subgraph";
import type { Resolvers } from "../generated/graphql.ts";

/** What may be stored. */
export const namespaceResolvers = {
  Query: {
    stateNamespaces: (_parent, _args, context) => {
      requireViewer(context);
      return context.namespaces.all();
    },
  },
  Namespace: {
    fields: ({ kinds }) => [...kinds].map(([name, kind]) => ({ name, kind })),
  },
} satisfies Resolvers;
