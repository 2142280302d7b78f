/** The data that a test system starts with, seeded by one process for all owners; the tests' users sign up themselves. */
import { seed as seedSession } from "@continuo/session/seed";
import { seed as seedUserState } from "@continuo/user-state/seed";
import { z } from "zod";

const Env = z.object({ SESSION_DATABASE_URL: z.string(), USER_STATE_DATABASE_URL: z.string() });

const { SESSION_DATABASE_URL, USER_STATE_DATABASE_URL } = Env.parse(process.env);
await Promise.all([
  seedSession({ DATABASE_URL: SESSION_DATABASE_URL, LOG_LEVEL: "warn" }),
  seedUserState({ DATABASE_URL: USER_STATE_DATABASE_URL, LOG_LEVEL: "warn" }),
]);
