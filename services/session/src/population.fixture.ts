/** Sessions in various states under a policy, written directly as rows, to try policies on. */
import fc from "fast-check";
import type { Pool } from "pg";
import { v4 as newId } from "uuid";
import type { PolicyRules } from "./policy/policy.ts";

/** One session of the user with that number; times are seconds before now. */
export interface Sketch {
  readonly user: number;
  readonly startedAgo: number;
  /** Since the last step-up, if there was one. */
  readonly authAgo: number;
  readonly activeAgo: number;
  readonly acr: string;
  /** Approved in another session, with this much of life left. */
  readonly approved: number | undefined;
}

/** Few users with several sessions each; times are coarse, so that some coincide. */
export const sketches: fc.Arbitrary<Sketch[]> = fc.array(
  fc
    .record({
      user: fc.nat(3),
      startedAgo: fc.nat(120),
      steppedUp: fc.boolean(),
      share: fc.nat(4),
      idleShare: fc.nat(4),
      acr: fc.constantFrom("aal1", "aal2", "aal3"),
      approved: fc.option(fc.integer({ min: 1, max: 100 }), { nil: undefined }),
    })
    .map(({ user, startedAgo, steppedUp, share, idleShare, acr, approved }): Sketch => {
      const authAgo = steppedUp ? Math.floor((startedAgo * share) / 4) : startedAgo;
      return { user, startedAgo, authAgo, activeAgo: Math.floor((authAgo * idleShare) / 4), acr, approved };
    }),
  { minLength: 1, maxLength: 16 },
);

/** Rules on the same time scale as the sketches. */
export const draftRules = (): fc.Arbitrary<
  Pick<PolicyRules, "idleSeconds" | "absoluteSeconds" | "maxSessions" | "requiredAcr">
> =>
  fc
    .record({
      idleSeconds: fc.integer({ min: 1, max: 120 }),
      absoluteSeconds: fc.integer({ min: 1, max: 200 }),
      maxSessions: fc.integer({ min: 1, max: 5 }),
      requiredAcr: fc.constantFrom(null, "aal1" as const, "aal2" as const, "aal3" as const),
    })
    .map((rules) => ({ ...rules, idleSeconds: Math.min(rules.idleSeconds, rules.absoluteSeconds) }));

/** An application with version 1 active; the rules not given are as loose as allowed. */
export async function newApplication(
  admin: Pool,
  rules: Pick<PolicyRules, "idleSeconds" | "absoluteSeconds">,
): Promise<string> {
  const id = newId();
  await admin.query("INSERT INTO session.applications VALUES ($1, 'Tried', now())", [id]);
  await admin.query(
    `INSERT INTO session.policies (application_id, version, state, idle_seconds, absolute_seconds, access_token_seconds,
            device_binding, max_sessions, at_limit, step_up_seconds, persistence, posture, activated_at)
     VALUES ($1, 1, 'ACTIVE', $2, $3, 60, 'NONE', 100, 'EVICT_OLDEST', 300, true, 'STRICT', now())`,
    [id, rules.idleSeconds, rules.absoluteSeconds],
  );
  return id;
}

/** Writes the sketched sessions under version 1, each with device and grant; returns their ids in order. */
export async function populate(
  admin: Pool,
  applicationId: string,
  sessions: readonly Sketch[],
  now: Date,
): Promise<{ ids: string[]; users: string[] }> {
  const users = new Map(sessions.map(({ user }) => [user, newId()]));
  const userOf = ({ user }: Sketch): string => users.get(user) ?? "";
  const ago = (seconds: number): Date => new Date(now.getTime() - seconds * 1_000);
  const ids = sessions.map(() => newId());
  const parents = sessions.map(({ approved }) => (approved === undefined ? null : newId()));
  await admin.query("INSERT INTO session.user_heads (user_id) SELECT unnest($1::uuid[])", [[...users.values()]]);
  await admin.query(
    `INSERT INTO session.devices (id, user_id, detected_name, platform, first_seen_at, last_seen_at, rev)
     SELECT id, user_id, 'Sketch', 'OTHER', now(), now(), 1 FROM unnest($1::uuid[], $2::uuid[]) AS d (id, user_id)`,
    [ids, sessions.map(userOf)],
  );
  const columns = [
    ids,
    sessions.map(userOf),
    sessions.map(({ acr }) => acr),
    sessions.map(({ authAgo }) => ago(authAgo)),
    sessions.map(({ startedAgo }) => ago(startedAgo)),
    sessions.map(({ activeAgo }) => ago(activeAgo)),
    parents,
    sessions.map(({ approved }) => (approved === undefined ? null : ago(-approved))),
  ];
  // The approving sessions belong to another application and ended long ago, so they count nowhere.
  await admin.query(
    `INSERT INTO session.sessions (id, user_id, device_id, application_id, origin, acr, amr, auth_time, policy_version,
            idle_seconds, started_at, idle_deadline, absolute_deadline, last_active_at, state, ended_at)
     SELECT parent, user_id, id, 'continuo', 'PASSWORD', 'aal1', '{pwd}', $3, 1, 1, $3, $3, $3, $3, 'REVOKED', $3
       FROM unnest($1::uuid[], $2::uuid[], $4::uuid[]) AS p (id, user_id, parent) WHERE parent IS NOT NULL`,
    [ids, sessions.map(userOf), now, parents],
  );
  await admin.query(
    `INSERT INTO session.sessions (id, user_id, device_id, application_id, origin, acr, amr, auth_time, policy_version,
            idle_seconds, started_at, idle_deadline, absolute_deadline, last_active_at, parent_id)
     SELECT s.id, s.user_id, s.id, p.application_id, 'PASSWORD', s.acr, '{pwd}', s.auth_time, 1, p.idle_seconds,
            s.started_at, s.active_at + make_interval(secs => p.idle_seconds),
            least(greatest(s.started_at, s.auth_time) + make_interval(secs => p.absolute_seconds), s.at_most),
            s.active_at, s.parent
       FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[],
                   $7::uuid[], $8::timestamptz[]) AS s (id, user_id, acr, auth_time, started_at, active_at, parent, at_most)
       JOIN session.policies AS p ON p.application_id = $9 AND p.version = 1`,
    [...columns, applicationId],
  );
  await admin.query(
    `INSERT INTO session.grants (id, session_id, key_id, salt, rotated_at)
     SELECT id, id, 1, '\\x00', now() FROM unnest($1::uuid[]) AS id`,
    [ids],
  );
  return { ids, users: [...users.values()] };
}
