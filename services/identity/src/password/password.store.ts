import { applyUserEvents } from "@continuo/signals";
import type { Pool } from "pg";
import { posted, REPEAT_AFTER_SECONDS } from "../outbox.ts";
import { MAX_FAILURES, type Attempt, type PasswordStore } from "./password.ts";

/** A taken address is overwritten with itself: either way the commit waits for the disk, so timing reveals nothing. */
const CREATE_PERSON = `
  WITH person AS (
    INSERT INTO identity.users (id, email, created_at) VALUES ($1, $2, $3)
    ON CONFLICT (email) DO UPDATE SET email = EXCLUDED.email
    RETURNING id
  )
  INSERT INTO identity.authenticators (id, user_id, kind, secret, created_at)
  SELECT $4, id, 'PASSWORD', $5, $3 FROM person WHERE id = $1`;

/** Commits without waiting for the disk: an unknown address writes nothing, and timing must not reveal which it was. */
const START_ATTEMPT = `
  WITH attempt AS (
    UPDATE identity.authenticators a SET failures = failures + 1
    FROM identity.users u
    WHERE u.email = $1 AND u.disabled_at IS NULL
      AND a.user_id = u.id AND a.kind = 'PASSWORD' AND a.revoked_at IS NULL
      AND a.failures < CASE WHEN u.id = $2 THEN $3::int ELSE $4::int END
    RETURNING a.id, a.user_id, a.secret, u.epoch
  )
  SELECT id AS "authenticatorId", user_id AS "userId", secret, epoch, set_config('synchronous_commit', 'off', true) FROM attempt`;

/** The epoch proves that the user was neither disabled nor given a new password since the attempt: both raise it. */
const SUCCEED = `
  UPDATE identity.authenticators a SET failures = 0, last_used_at = greatest(a.last_used_at, $2)
  FROM identity.users u
  WHERE a.id = $1 AND a.revoked_at IS NULL AND u.id = a.user_id AND u.epoch = $3`;

/**
 * $1 id, $2 when, $3 epoch, $4 hash, $5 topics, $6 delays. Locks the user row first, in the same order as deleting a
 * user.
 */
const REPLACE = `
WITH owner AS MATERIALIZED (
    SELECT u.id FROM identity.users AS u JOIN identity.authenticators AS a ON a.user_id = u.id
     WHERE a.id = $1 AND u.epoch = $3 FOR UPDATE OF u),
  replaced AS (
    UPDATE identity.authenticators AS a SET secret = $4, failures = 0, last_used_at = greatest(a.last_used_at, $2)
      FROM owner WHERE a.id = $1 AND a.user_id = owner.id AND a.revoked_at IS NULL
    RETURNING a.user_id),
  changed AS (
    UPDATE identity.users AS u SET epoch = u.epoch + 1 FROM replaced WHERE u.id = replaced.user_id
    RETURNING u.id, u.epoch),${posted("$5", "$6", "PASSWORD_CHANGED")}
SELECT FROM changed`;

const REHASH = `
  UPDATE identity.authenticators SET secret = $3 WHERE id = $1 AND secret = $2`;

/** Passwords in Postgres; each step is one statement. */
export function createPasswordStore(pool: Pool): PasswordStore {
  return {
    async createPerson({ userId, authenticatorId, email, secret, at }) {
      await pool.query({
        name: "password_create_person",
        text: CREATE_PERSON,
        values: [userId, email, at, authenticatorId, secret],
      });
    },
    async startAttempt(email, signedInAs) {
      const { rows } = await pool.query<Attempt>({
        name: "password_start_attempt",
        text: START_ATTEMPT,
        values: [email, signedInAs, MAX_FAILURES.ofAll, MAX_FAILURES.ofStrangers],
      });
      const [row] = rows;
      if (!row) return null;
      const { authenticatorId, userId, secret, epoch } = row;
      return { authenticatorId, userId, secret, epoch };
    },
    async succeed({ authenticatorId, epoch }, at) {
      const values = [authenticatorId, at, epoch];
      const { rowCount } = await pool.query({ name: "password_succeed", text: SUCCEED, values });
      return rowCount === 1;
    },
    async replace({ authenticatorId, epoch }, to, at) {
      const values = [authenticatorId, at, epoch, to, [applyUserEvents.name], REPEAT_AFTER_SECONDS];
      const { rowCount } = await pool.query({ name: "password_replace", text: REPLACE, values });
      return rowCount === 1;
    },
    async rehash(authenticatorId, from, to) {
      await pool.query({ name: "password_rehash", text: REHASH, values: [authenticatorId, from, to] });
    },
  };
}
