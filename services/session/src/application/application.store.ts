import type { Pool } from "pg";
import { Prisma, type PrismaClient } from "../database/generated/client.ts";
import { Application, type ApplicationStore } from "./application.ts";

const FIND = `
SELECT id, name, created_at AS "createdAt", secret_hash AS "secretHash", jwks, may_introspect AS "mayIntrospect",
       backchannel_logout_uri AS "backchannelLogoutUri"
  FROM session.applications WHERE id = $1`;

/** SQL condition: the application with this id must authenticate. */
export const isConfidentialSql = (id: string): string =>
  `EXISTS (SELECT FROM session.applications AS a WHERE a.id = ${id} AND (a.secret_hash IS NOT NULL OR a.jwks IS NOT NULL))`;

/** Applications in Postgres. */
export function createApplicationStore(pool: Pool, prisma: PrismaClient): ApplicationStore {
  return {
    // Prepared: runs with every client request.
    async find(id) {
      const { rows } = await pool.query<Record<string, unknown>>({ name: "application", text: FIND, values: [id] });
      return rows[0] && Application.parse(rows[0]);
    },

    async list() {
      const rows = await prisma.application.findMany({ orderBy: { id: "asc" } });
      return rows.map((row) => Application.parse(row));
    },

    async add({ secretHash, jwks, ...application }) {
      const { count } = await prisma.application.createMany({
        data: [
          {
            ...application,
            secretHash: secretHash === null ? null : Buffer.from(secretHash),
            jwks: jwks ?? Prisma.DbNull,
          },
        ],
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

    async replaceJwks(id, jwks) {
      const { count } = await prisma.application.updateMany({
        where: { id, OR: [{ secretHash: { not: null } }, { jwks: { not: Prisma.DbNull } }] },
        data: { jwks, secretHash: null },
      });
      return count === 1;
    },

    async setLogoutUri(id, backchannelLogoutUri) {
      const { count } = await prisma.application.updateMany({ where: { id }, data: { backchannelLogoutUri } });
      return count === 1;
    },
  };
}
