import { ACR_ORDER } from "@continuo/access";
import type { Pool } from "pg";
import { isConfidentialSql } from "../application/application.store.ts";
import { GoverningPolicy, Policy, type PolicyStore } from "./policy.ts";

const ORDER = `ARRAY[${ACR_ORDER.map((acr) => `'${acr}'`).join(", ")}]`;

/** `acrSuffices` as an SQL condition on two expressions. */
export const acrSufficesSql = (acr: string, required: string): string =>
  `(${required} IS NULL OR ${acr} = ${required} OR
    coalesce(array_position(${ORDER}, ${acr}) > array_position(${ORDER}, ${required}), false))`;

/**
 * SQL condition: an application's sessions may hold tokens of posture OPEN, also minted under an earlier policy
 * version.
 */
export const mayBeOpenSql = (applicationId: string): string =>
  `EXISTS (SELECT FROM session.policies AS open
            WHERE open.application_id = ${applicationId} AND open.posture = 'OPEN' AND open.state <> 'DRAFT')`;

/**
 * SQL condition: session `s` may hold tokens minted under version `p` of its application's policy. It has followed the
 * versions activated since it started, with a minute's tolerance for clock differences.
 */
export const mayHaveFollowedSql = (s: string, p: string): string =>
  `(${p}.application_id = ${s}.application_id AND ${p}.version <= ${s}.policy_version AND NOT EXISTS (
      SELECT FROM session.policies AS next
       WHERE next.application_id = ${p}.application_id AND next.version > ${p}.version
         AND next.version <= ${s}.policy_version AND next.activated_at < ${s}.started_at - interval '1 minute'))`;

/** The columns of a Policy in `table`. */
export const policyColumns = (table: string): string => `
  ${table}.application_id AS "applicationId", ${table}.version, ${table}.idle_seconds AS "idleSeconds",
  ${table}.absolute_seconds AS "absoluteSeconds", ${table}.access_token_seconds AS "accessTokenSeconds",
  ${table}.max_sessions AS "maxSessions", ${table}.at_limit AS "atLimit", ${table}.required_acr AS "requiredAcr",
  ${table}.device_binding AS "deviceBinding", ${table}.step_up_seconds AS "stepUpSeconds", ${table}.persistence,
  ${table}.posture`;

/** Applications and policies in Postgres. */
export function createPolicyStore(pool: Pool): PolicyStore {
  return {
    async active(applicationId) {
      const { rows } = await pool.query<Record<string, unknown>>({
        name: "active-policy",
        text: `SELECT ${policyColumns("p")}, ${isConfidentialSql("p.application_id")} AS "isConfidential"
                 FROM session.policies AS p WHERE p.application_id = $1 AND p.state = 'ACTIVE'`,
        values: [applicationId],
      });
      return rows[0] && GoverningPolicy.parse(rows[0]);
    },

    async versions(keys) {
      const { rows } = await pool.query<Record<string, unknown>>({
        name: "policy-versions",
        text: `SELECT ${policyColumns("p")} FROM session.policies AS p
                WHERE (p.application_id, p.version) IN (SELECT * FROM unnest($1::text[], $2::int[]))`,
        values: [keys.map(({ applicationId }) => applicationId), keys.map(({ version }) => version)],
      });
      const found = rows.map((row) => Policy.parse(row));
      return keys.map(({ applicationId, version }) =>
        found.find((policy) => policy.applicationId === applicationId && policy.version === version),
      );
    },

    async applications(ids) {
      const { rows } = await pool.query<{ id: string; name: string }>({
        name: "applications",
        text: "SELECT id, name FROM session.applications WHERE id = ANY ($1)",
        values: [ids],
      });
      return ids.map((id) => rows.find((row) => row.id === id));
    },
  };
}
