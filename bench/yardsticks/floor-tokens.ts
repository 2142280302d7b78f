/** The floor's tokens, with node:crypto: a caller's token is verified once, a new one signed each time. */
import {
  createHmac,
  createPublicKey,
  generateKeyPairSync,
  randomUUID,
  sign,
  timingSafeEqual,
  verify,
  type KeyObject,
} from "node:crypto";
import { z } from "zod";

const KeySet = z.object({ keys: z.array(z.looseObject({ kid: z.string(), kty: z.string() })) });
const Header = z.object({ kid: z.string() });
const Claims = z.object({ sub: z.string(), sid: z.string(), did: z.string(), exp: z.number() });
export type Caller = z.infer<typeof Claims>;

const Rotated = z.object({
  generation: z.number(),
  session_id: z.string(),
  user_id: z.string(),
  device_id: z.string(),
  application_id: z.string(),
  acr: z.string(),
  amr: z.array(z.string()),
});

const LIFE_SECONDS = 300;

/** Signatures are r ‖ s. Passing that beside the key, in an options object, would take node:crypto a third longer. */
const joseKey = (key: KeyObject): KeyObject => Object.assign(key, { dsaEncoding: "ieee-p1363" });

export interface FloorTokens {
  /** Throws for any caller who is not signed in. */
  callerOf(authorization: string | undefined): Caller;
  readRefreshToken(token: string): { grantId: string; generation: number };
  /** Issues tokens for the row that a rotation returned; throws when there is none. */
  issue(grantId: string, rotated: unknown): { accessToken: string; expiresIn: number; refreshToken: string };
}

/** A refresh token of the floor: `grant.generation.hmac`. */
export function floorRefreshToken(key: string, grantId: string, generation: number): string {
  const text = `${grantId}.${generation}`;
  return `${text}.${createHmac("sha256", key).update(text).digest("base64url")}`;
}

export function openTokens(keySet: string, refreshKey: string): FloorTokens {
  const keys = new Map(
    KeySet.parse(JSON.parse(keySet)).keys.map((jwk) => [
      jwk.kid,
      joseKey(createPublicKey({ key: jwk, format: "jwk" })),
    ]),
  );
  const privateKey = joseKey(generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey);
  const known = new Map<string, Caller>();

  function verifyToken(token: string): Caller {
    const [header = "", payload = "", signature = ""] = token.split(".");
    const key = keys.get(Header.parse(json(header)).kid);
    const data = Buffer.from(`${header}.${payload}`);
    const genuine = key && verify("sha256", data, key, Buffer.from(signature, "base64url"));
    if (!genuine) throw new Error("the access token is not genuine");
    return Claims.parse(json(payload));
  }

  return {
    callerOf(authorization) {
      const token = authorization?.slice("Bearer ".length) ?? "";
      const caller = known.get(token) ?? verifyToken(token);
      if (caller.exp * 1_000 <= Date.now()) throw new Error("the access token has expired");
      known.set(token, caller);
      return caller;
    },
    readRefreshToken(token) {
      const [grantId = "", generation = ""] = token.split(".");
      const genuine = floorRefreshToken(refreshKey, grantId, Number(generation));
      const same = genuine.length === token.length && timingSafeEqual(Buffer.from(genuine), Buffer.from(token));
      if (!same) throw new Error("the refresh token is not genuine");
      return { grantId, generation: Number(generation) };
    },
    issue(grantId, rotated) {
      const row = Rotated.parse(rotated);
      const now = Math.floor(Date.now() / 1_000);
      const claims = {
        sub: row.user_id,
        sid: row.session_id,
        did: row.device_id,
        client_id: row.application_id,
        acr: row.acr,
        amr: row.amr,
        jti: randomUUID(),
        iat: now,
        exp: now + LIFE_SECONDS,
      };
      const data = `${text({ alg: "ES256", typ: "at+jwt" })}.${text(claims)}`;
      const signature = sign("sha256", Buffer.from(data), privateKey);
      return {
        accessToken: `${data}.${signature.toString("base64url")}`,
        expiresIn: LIFE_SECONDS,
        refreshToken: floorRefreshToken(refreshKey, grantId, row.generation),
      };
    },
  };
}

const json = (part: string): unknown => JSON.parse(Buffer.from(part, "base64url").toString());
const text = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
