import type { Pool } from "pg";
import { MAX_FAILURES, type Attempt, type PasswordStore } from "./password.ts";

/** A taken address is written over with itself: both cases end in a commit that waits for the disk, so that time tells nothing. */
const CREATE_PERSON = `
  WITH person AS (
    INSERT INTO identity.users (id, email, created_at) VALUES ($1, $2, $3)
    ON CONFLICT (email) DO UPDATE SET email = EXCLUDED.email
    RETURNING id
  )
  INSERT INTO identity.authenticators (id, user_id, kind, secret, created_at)
  SELECT $4, id, 'PASSWORD', $5, $3 FROM person WHERE id = $1`;

/** The one commit here that does not wait for the disk: an unknown address writes nothing, and time must not tell which it was. */
const START_ATTEMPT = `
  WITH attempt AS (
    UPDATE identity.authenticators a SET failures = failures + 1
    FROM identity.users u
    WHERE u.email = $1 AND u.disabled_at IS NULL
      AND a.user_id = u.id AND a.kind = 'PASSWORD' AND a.revoked_at IS NULL AND a.failures < $2
    RETURNING a.id, a.user_id, a.secret
  )
  SELECT id AS "authenticatorId", user_id AS "userId", secret, set_config('synchronous_commit', 'off', true) FROM attempt`;

const SUCCEED = `
  UPDATE identity.authenticators a SET failures = 0, last_used_at = greatest(a.last_used_at, $2)
  FROM identity.users u
  WHERE a.id = $1 AND a.revoked_at IS NULL AND u.id = a.user_id AND u.disabled_at IS NULL
  RETURNING u.epoch`;

const REHASH = `
  UPDATE identity.authenticators SET secret = $3 WHERE id = $1 AND secret = $2`;

/** Passwords in Postgres, each step one statement. */
export function createPasswordStore(pool: Pool): PasswordStore {
  return {
    async createPerson({ userId, authenticatorId, email, secret, at }) {
      await pool.query({
        name: "password_create_person",
        text: CREATE_PERSON,
        values: [userId, email, at, authenticatorId, secret],
      });
    },
    async startAttempt(email) {
      const { rows } = await pool.query<Attempt>({
        name: "password_start_attempt",
        text: START_ATTEMPT,
        values: [email, MAX_FAILURES],
      });
      const [row] = rows;
      return row ? { authenticatorId: row.authenticatorId, userId: row.userId, secret: row.secret } : null;
    },
    async succeed(authenticatorId, at) {
      const { rows } = await pool.query<{ epoch: number }>({
        name: "password_succeed",
        text: SUCCEED,
        values: [authenticatorId, at],
      });
      return rows[0]?.epoch ?? null;
    },
    async rehash(authenticatorId, from, to) {
      await pool.query({ name: "password_rehash", text: REHASH, values: [authenticatorId, from, to] });
    },
  };
}
