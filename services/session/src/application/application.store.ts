import type { PrismaClient } from "../database/generated/client.ts";
import { Application, type ApplicationStore } from "./application.ts";

/** Applications in Postgres. */
export function createApplicationStore(prisma: PrismaClient): ApplicationStore {
  return {
    async find(id) {
      const row = await prisma.application.findUnique({ where: { id } });
      return row === null ? undefined : Application.parse(row);
    },

    async list() {
      const rows = await prisma.application.findMany({ orderBy: { id: "asc" } });
      return rows.map((row) => Application.parse(row));
    },

    async add({ secretHash, ...application }) {
      const { count } = await prisma.application.createMany({
        data: [{ ...application, secretHash: secretHash === null ? null : Buffer.from(secretHash) }],
        skipDuplicates: true,
      });
      return count === 1;
    },

    async replaceSecretHash(id, secretHash) {
      const { count } = await prisma.application.updateMany({
        where: { id, secretHash: { not: null } },
        data: { secretHash: Buffer.from(secretHash) },
      });
      return count === 1;
    },

    async setLogoutUri(id, backchannelLogoutUri) {
      const { count } = await prisma.application.updateMany({ where: { id }, data: { backchannelLogoutUri } });
      return count === 1;
    },
  };
}
