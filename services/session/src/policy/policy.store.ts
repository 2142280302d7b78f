import type { PrismaClient } from "../database/generated/client.ts";
import { ACR_ORDER, Policy, type PolicyStore } from "./policy.ts";

const ORDER = `ARRAY[${ACR_ORDER.map((acr) => `'${acr}'`).join(", ")}]`;

/** `acrSuffices` as SQL, of two expressions. */
export const acrSufficesSql = (acr: string, required: string): string =>
  `(${required} IS NULL OR ${acr} = ${required} OR
    coalesce(array_position(${ORDER}, ${acr}) > array_position(${ORDER}, ${required}), false))`;

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

    async version(applicationId, version) {
      const row = await prisma.policy.findUnique({
        where: { applicationId_version: { applicationId, version } },
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
