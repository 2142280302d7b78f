import type { PrismaClient } from "../database/generated/client.ts";
import { Policy, type PolicyStore } from "./policy.ts";

/** Applications and policies in Postgres. */
export function createPolicyStore(prisma: PrismaClient): PolicyStore {
  return {
    async active(applicationId) {
      const row = await prisma.policy.findFirst({
        where: { applicationId, state: "ACTIVE" },
        orderBy: { version: "desc" },
      });
      return row === null ? undefined : Policy.parse(row);
    },

    async applications(ids) {
      const rows = await prisma.application.findMany({
        where: { id: { in: [...ids] } },
        select: { id: true, name: true },
      });
      return ids.map((id) => rows.find((row) => row.id === id));
    },
  };
}
