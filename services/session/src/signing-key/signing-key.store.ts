import type { Pool } from "pg";
import { z } from "zod";
import { inTransaction } from "@continuo/database";
import type { SigningKeyStore } from "./signing-key.ts";

/** Any number that no other advisory lock of this database uses. */
const FIRST_KEY_LOCK = 7_401_001;

const Sealed = z.object({
  kid: z.string(),
  publicJwk: z.looseObject({ kty: z.string() }),
  sealedPrivateKey: z.instanceof(Buffer),
});

const ACTIVE = `
SELECT kid, public_jwk AS "publicJwk", sealed_private_key AS "sealedPrivateKey"
  FROM session.signing_keys WHERE state = 'ACTIVE'`;

/** Signing keys in Postgres. */
export function createSigningKeyStore(pool: Pool): SigningKeyStore {
  return {
    activeOr: (create, now) =>
      inTransaction(pool, async (client) => {
        await client.query("SELECT pg_advisory_xact_lock($1)", [FIRST_KEY_LOCK]);
        const { rows } = await client.query<Record<string, unknown>>(ACTIVE);
        if (rows[0]) return Sealed.parse(rows[0]);
        const made = await create();
        await client.query(
          `INSERT INTO session.signing_keys (kid, alg, state, public_jwk, sealed_private_key, created_at, activated_at)
           VALUES ($1, 'ES256', 'ACTIVE', $2, $3, $4, $4)`,
          [made.kid, made.publicJwk, made.sealedPrivateKey, now],
        );
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
  };
}
