import type { PrismaClient } from "../database/generated/client.ts";
import type { UserStore } from "./user.ts";

/** Users in Postgres. */
export function createUserStore(prisma: PrismaClient): UserStore {
  return {
    loadUser: async (id) =>
      prisma.user.findUnique({
        where: { id, disabledAt: null },
        select: { id: true, email: true, createdAt: true },
      }),
  };
}
