import { KIND_NAMES } from "@continuo/merge";
import { z } from "zod";
import type { PrismaClient } from "../database/generated/client.ts";
import type { NamespaceStore } from "./namespace.ts";

const Kinds = z.record(z.string(), z.enum(KIND_NAMES));

/** Namespaces in Postgres. Only durable ones: what must not be stored is not accepted as long as we can only store. */
export function createNamespaceStore(prisma: Pick<PrismaClient, "namespace">): NamespaceStore {
  return {
    async load() {
      const rows = await prisma.namespace.findMany({
        where: { state: "ACTIVE", persistence: "DURABLE" },
        distinct: ["name"],
        orderBy: [{ name: "asc" }, { version: "desc" }],
        select: { name: true, version: true, kinds: true },
      });
      return rows.map(({ name, version, kinds }) => ({
        name,
        version,
        kinds: new Map(Object.entries(Kinds.parse(kinds))),
      }));
    },
  };
}
