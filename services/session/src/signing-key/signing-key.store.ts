import type { Pool, PoolClient } from "pg";
import { z } from "zod";
import { inTransaction } from "@continuo/database";
import { KeyRecord, type SealedSigningKey, type SigningKeyStore } from "./signing-key.ts";

/** Any number that no other advisory lock of this database uses. */
const KEY_CHANGE_LOCK = 7_401_001;

const Sealed = z.object({
  kid: z.string(),
  publicJwk: z.looseObject({ kty: z.string() }),
  sealedPrivateKey: z.instanceof(Buffer),
});

const ACTIVE = `
SELECT kid, public_jwk AS "publicJwk", sealed_private_key AS "sealedPrivateKey"
  FROM session.signing_keys WHERE state = 'ACTIVE'`;

const ADD = `
INSERT INTO session.signing_keys (kid, alg, public_jwk, sealed_private_key, created_at, state, activated_at)
VALUES ($1, 'ES256', $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`;

/** $1 latest publication time, $2 now. */
const ACTIVATE = `
WITH former AS (
  UPDATE session.signing_keys SET state = 'RETIRING', retiring_at = $2
   WHERE state = 'ACTIVE'
     AND EXISTS (SELECT FROM session.signing_keys AS n WHERE n.state = 'NEXT' AND n.created_at <= $1)
  RETURNING kid)
UPDATE session.signing_keys SET state = 'ACTIVE', activated_at = $2
 WHERE state = 'NEXT' AND created_at <= $1 AND EXISTS (SELECT FROM former)`;

/** $1 latest `retiring_at`, $2 now. */
const RETIRE = `
UPDATE session.signing_keys SET state = 'RETIRED', retired_at = $2, sealed_private_key = ''
 WHERE state = 'RETIRING' AND retiring_at <= $1`;

/** $1 kid, $2 now. */
const RETIRE_NOW = `
UPDATE session.signing_keys AS k SET state = 'RETIRED', retired_at = $2, sealed_private_key = ''
  FROM (SELECT kid, state FROM session.signing_keys WHERE kid = $1 FOR UPDATE) AS before
 WHERE k.kid = before.kid AND before.state <> 'RETIRED'
RETURNING before.state`;

/** $1 now. */
const PROMOTE = `UPDATE session.signing_keys SET state = 'ACTIVE', activated_at = $1 WHERE state = 'NEXT'`;

/** Signing keys in Postgres. */
export function createSigningKeyStore(pool: Pool): SigningKeyStore {
  /** Serialises changes of the active key, so that there is always exactly one. */
  const alone = <Result>(work: (client: PoolClient) => Promise<Result>): Promise<Result> =>
    inTransaction(pool, async (client) => {
      await client.query("SELECT pg_advisory_xact_lock($1)", [KEY_CHANGE_LOCK]);
      return work(client);
    });

  async function readActive(client: Pool | PoolClient): Promise<SealedSigningKey | undefined> {
    const { rows } = await client.query<Record<string, unknown>>({ name: "active-key", text: ACTIVE });
    return rows[0] && Sealed.parse(rows[0]);
  }

  const changes = async (text: string, values: unknown[]): Promise<boolean> =>
    ((await pool.query(text, values)).rowCount ?? 0) > 0;

  return {
    activeOr: async (create, now) =>
      (await readActive(pool)) ??
      alone(async (client) => {
        const made = (await readActive(client)) ?? (await create());
        await client.query(ADD, [made.kid, made.publicJwk, made.sealedPrivateKey, now, "ACTIVE", now]);
        return made;
      }),

    async published() {
      const { rows } = await pool.query<{ publicJwk: unknown }>({
        name: "published-keys",
        text: `SELECT public_jwk AS "publicJwk" FROM session.signing_keys
                WHERE state IN ('NEXT', 'ACTIVE', 'RETIRING') ORDER BY created_at`,
      });
      return rows.map(({ publicJwk }) => Sealed.shape.publicJwk.parse(publicJwk));
    },

    async allPublic() {
      const { rows } = await pool.query<{ publicJwk: unknown }>(
        `SELECT public_jwk AS "publicJwk" FROM session.signing_keys ORDER BY created_at`,
      );
      return rows.map(({ publicJwk }) => Sealed.shape.publicJwk.parse(publicJwk));
    },

    async list() {
      const { rows } = await pool.query<Record<string, unknown>>({
        name: "list-keys",
        text: `SELECT kid, state, created_at AS "createdAt", activated_at AS "activatedAt",
                      retiring_at AS "retiringAt", retired_at AS "retiredAt"
                 FROM session.signing_keys ORDER BY created_at, kid`,
      });
      return rows.map((row) => KeyRecord.parse(row));
    },

    addNext: ({ kid, publicJwk, sealedPrivateKey }, now) =>
      changes(ADD, [kid, publicJwk, sealedPrivateKey, now, "NEXT", null]),
    activate: (publishedBy, now) =>
      alone(async (client) => ((await client.query(ACTIVATE, [publishedBy, now])).rowCount ?? 0) > 0),
    retire: (retiringBy, now) => changes(RETIRE, [retiringBy, now]),

    retireNow: (kid, { kid: newKid, publicJwk, sealedPrivateKey }, now) =>
      alone(async (client) => {
        const { rows } = await client.query<{ state: KeyRecord["state"] }>(RETIRE_NOW, [kid, now]);
        if (rows[0]?.state === "ACTIVE" && (await client.query(PROMOTE, [now])).rowCount === 0) {
          await client.query(ADD, [newKid, publicJwk, sealedPrivateKey, now, "ACTIVE", now]);
        }
        return rows.length > 0;
      }),
  };
}
