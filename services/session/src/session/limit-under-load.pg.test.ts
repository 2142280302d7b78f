/** The policy's limit under a storm: 5,000 sign-ins of one person at once, over as many connections as a service has. */
import { randomBytes } from "node:crypto";
import { Pool } from "pg";
import { v4 as newDeviceId, v7 as newId } from "uuid";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Policy } from "../policy/policy.ts";
import { startSystem, type System } from "../system.fixture.ts";
import { createStartSessionStore } from "./start-session.store.ts";
import type { StartCommand, StartOutcome } from "./start-session.ts";

const SIGN_INS = 5_000;
const LIMIT = 5;

let system: System;
let pool: Pool;
beforeAll(async () => {
  system = await startSystem();
  pool = new Pool({ connectionString: system.env.DATABASE_URL, max: 10 });
});
afterAll(async () => {
  await pool.end();
  await system[Symbol.asyncDispose]();
});

async function policyWith(atLimit: Policy["atLimit"]): Promise<Policy> {
  const applicationId = newId();
  await system.admin.query("INSERT INTO session.applications (id, name, created_at) VALUES ($1, 'Limited', now())", [
    applicationId,
  ]);
  const { rows } = await system.admin.query<Record<string, unknown>>(
    `INSERT INTO session.policies
     SELECT $1, 1, state, idle_seconds, absolute_seconds, access_token_seconds, device_binding, $2, $3, required_acr,
            step_up_seconds, persistence, posture, activated_at
       FROM session.policies WHERE application_id = 'continuo' AND state = 'ACTIVE'
     RETURNING idle_seconds AS "idleSeconds", absolute_seconds AS "absoluteSeconds", step_up_seconds AS "stepUpSeconds",
               access_token_seconds AS "accessTokenSeconds", max_sessions AS "maxSessions", at_limit AS "atLimit",
               device_binding AS "deviceBinding", required_acr AS "requiredAcr", persistence, posture`,
    [applicationId, LIMIT, atLimit],
  );
  return Policy.parse({ ...rows[0], applicationId, version: 1 });
}

function signIn(userId: string, policy: Policy): StartCommand {
  const now = system.clock.now;
  const later = new Date(now.getTime() + policy.idleSeconds * 1_000);
  return {
    userId,
    jti: newId(),
    jtiExpiresAt: later,
    signInEpoch: 0,
    policy,
    sessionId: newId(),
    origin: "PASSWORD",
    acr: "aal1",
    amr: ["pwd"],
    authTime: now,
    idleDeadline: later,
    absoluteDeadline: later,
    device: { name: "Firefox on Linux", platform: "LAPTOP" },
    newDeviceId: newDeviceId(),
    grantId: newId(),
    keyId: 1,
    salt: randomBytes(16),
    jkt: null,
    parentId: null,
    place: { ipPrefix: null, country: null },
    evictions: LIMIT,
    now,
  };
}

describe("the policy's limit under 5,000 sign-ins at once", () => {
  it.each([
    [
      "EVICT_OLDEST",
      { STARTED: SIGN_INS },
      [
        { end_reason: null, count: LIMIT },
        { end_reason: "EVICTED", count: SIGN_INS - LIMIT },
      ],
    ],
    ["REFUSE", { STARTED: LIMIT, SESSION_LIMIT_REACHED: SIGN_INS - LIMIT }, [{ end_reason: null, count: LIMIT }]],
  ] as const)(
    "is exact: %s",
    async (atLimit, outcomes, sessions) => {
      const policy = await policyWith(atLimit);
      const userId = newId();
      const store = createStartSessionStore(pool);
      const answers = await Promise.all(
        Array.from({ length: SIGN_INS }, async (): Promise<StartOutcome["kind"]> => {
          const { kind } = await store.start(signIn(userId, policy));
          return kind;
        }),
      );
      expect(
        Object.fromEntries(
          Object.entries(Object.groupBy(answers, (kind) => kind)).map(([kind, all]) => [kind, all.length]),
        ),
      ).toEqual(outcomes);
      const { rows } = await system.admin.query(
        "SELECT end_reason, count(*)::int FROM session.sessions WHERE user_id = $1 GROUP BY 1 ORDER BY 1 NULLS FIRST",
        [userId],
      );
      expect(rows).toEqual(sessions);
      const dangling = await system.admin.query(
        `SELECT FROM session.grants AS g JOIN session.sessions AS s ON s.id = g.session_id
        WHERE s.user_id = $1 AND (g.state = 'ACTIVE') <> (s.state = 'ACTIVE')`,
        [userId],
      );
      expect(dangling.rowCount).toBe(0);
    },
    600_000,
  );
});
