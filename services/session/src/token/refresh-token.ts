/**
 * The refresh token: opaque to clients, computable by us, kept nowhere.
 *
 *   cnt_rt_ base64url( version 1 | key id 1 | grant id 16 | generation 4 | salt 16 | HMAC-SHA-256 32 | CRC-32 4 )
 *
 * The key of the HMAC is HKDF-SHA-256(master key, salt = grant id ‖ salt) and it covers all that stands before it. The
 * salt is random, made with the grant, and lies in the grant's row as well as in the token: so the token is checked
 * before anything is read, and yet a stolen master key forges nothing without the rows (the rotation compares the salt),
 * nor do stolen rows without the master key. Given grant, salt and generation there is exactly one token: whoever lost a
 * reply gets the same one again.
 */
import { createHmac, createSecretKey, hkdfSync, timingSafeEqual, type KeyObject } from "node:crypto";
import { crc32 } from "node:zlib";
import { parse as parseUuid, stringify as formatUuid } from "uuid";

/** What a refresh token says. */
export interface RefreshTokenParts {
  readonly grantId: string;
  /** 1 for the token that came with the session, one more with each rotation. */
  readonly generation: number;
  /** Which master key its HMAC is derived from. */
  readonly keyId: number;
  /** 16 random bytes, the same for all generations of a grant. */
  readonly salt: Buffer;
}

/** Encodes and recognises refresh tokens. */
export interface RefreshTokenCodec {
  /** Of the master key that new tokens are derived from. */
  readonly currentKeyId: number;
  encode(parts: RefreshTokenParts): string;
  /** Undefined for anything that this codec has not made; compares in constant time. */
  decode(token: string): RefreshTokenParts | undefined;
}

/** Recognised by secret scanners. */
export const REFRESH_TOKEN_PREFIX = "cnt_rt_";

const VERSION = 1;
const SIGNED_BYTES = 38;
const MAC_BYTES = 32;
const TOTAL_BYTES = SIGNED_BYTES + MAC_BYTES + 4;
const LENGTH = REFRESH_TOKEN_PREFIX.length + Math.ceil((TOTAL_BYTES * 8) / 6);

/** Which of 256 a master key is, so that a token says under which one it was made. Derived, as nobody should have to number keys. */
function keyIdOf(masterKey: Buffer): number {
  return Buffer.from(hkdfSync("sha256", masterKey, "", "continuo refresh token key id 1", 1)).readUInt8();
}

/**
 * `current` derives new tokens, tokens under `former` stay good; 32 bytes each. Throws RangeError for two keys with one id
 * (one pair in 256: make another). `encode` throws RangeError for a key id that is not among them.
 */
export function createRefreshTokenCodec([current, ...former]: readonly [Buffer, ...Buffer[]]): RefreshTokenCodec {
  const masterKeys = new Map([current, ...former].map((key) => [keyIdOf(key), createSecretKey(key)]));
  if (masterKeys.size <= former.length) throw new RangeError("two of the master keys have one id: make another");

  function sign(signed: Buffer, masterKey: KeyObject): Buffer {
    const salt = Buffer.concat([signed.subarray(2, 18), signed.subarray(22, 38)]);
    const key = hkdfSync("sha256", masterKey, salt, "continuo refresh token 1", 32);
    // As key objects they cost a third of what they cost as bytes.
    return createHmac("sha256", createSecretKey(Buffer.from(key)))
      .update(signed)
      .digest();
  }

  return {
    currentKeyId: keyIdOf(current),

    encode({ grantId, generation, keyId, salt }) {
      const masterKey = masterKeys.get(keyId);
      if (masterKey === undefined) throw new RangeError(`there is no master key ${keyId}`);
      const bytes = Buffer.alloc(TOTAL_BYTES);
      bytes.writeUInt8(VERSION, 0);
      bytes.writeUInt8(keyId, 1);
      bytes.set(parseUuid(grantId), 2);
      bytes.writeUInt32BE(generation, 18);
      bytes.set(salt, 22);
      bytes.set(sign(bytes.subarray(0, SIGNED_BYTES), masterKey), SIGNED_BYTES);
      bytes.writeUInt32BE(crc32(bytes.subarray(0, TOTAL_BYTES - 4)), TOTAL_BYTES - 4);
      return REFRESH_TOKEN_PREFIX + bytes.toString("base64url");
    },

    decode(token) {
      if (token.length !== LENGTH || !token.startsWith(REFRESH_TOKEN_PREFIX)) return undefined;
      const text = token.slice(REFRESH_TOKEN_PREFIX.length);
      const bytes = Buffer.from(text, "base64url");
      // One spelling per token: Buffer would overlook foreign characters and loose last bits.
      if (bytes.length !== TOTAL_BYTES || bytes.toString("base64url") !== text) return undefined;
      if (bytes.readUInt32BE(TOTAL_BYTES - 4) !== crc32(bytes.subarray(0, TOTAL_BYTES - 4))) return undefined;
      const masterKey = masterKeys.get(bytes.readUInt8(1));
      if (bytes.readUInt8(0) !== VERSION || masterKey === undefined) return undefined;
      const mac = sign(bytes.subarray(0, SIGNED_BYTES), masterKey);
      if (!timingSafeEqual(mac, bytes.subarray(SIGNED_BYTES, SIGNED_BYTES + MAC_BYTES))) return undefined;
      return {
        keyId: bytes.readUInt8(1),
        grantId: formatUuid(bytes.subarray(2, 18)),
        generation: bytes.readUInt32BE(18),
        salt: Buffer.from(bytes.subarray(22, 38)),
      };
    },
  };
}
