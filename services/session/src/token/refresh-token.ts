/**
 * The refresh token: opaque to clients, computable by us, stored nowhere.
 *
 *   cnt_rt_ base64url( version 1 | key id 1 | grant id 16 | generation 4 | salt 16 | HMAC-SHA-256 32 | CRC-32 4 )
 *
 * The HMAC key is HKDF-SHA-256(master key, salt = grant id ‖ salt); the HMAC covers everything before it. The random
 * salt is created with the grant and is both in its row and in the token. So a token is verified before anything is
 * read; yet a stolen master key cannot forge one without the rows (the rotation compares the salt), nor stolen rows
 * without the master key. Grant, salt and generation determine the token, so a client that lost a reply gets the same
 * token again.
 */
import { createHmac, createSecretKey, hkdfSync, timingSafeEqual, type KeyObject } from "node:crypto";
import { crc32 } from "node:zlib";
import { parse as parseUuid, stringify as formatUuid } from "uuid";

/** The content of a refresh token. */
export interface RefreshTokenParts {
  readonly grantId: string;
  /** 1 for the grant's first token; each rotation adds one. */
  readonly generation: number;
  /** Id of the master key that its HMAC key is derived from. */
  readonly keyId: number;
  /** 16 random bytes, the same for all generations of a grant. */
  readonly salt: Buffer;
}

/** Encodes and verifies refresh tokens. */
export interface RefreshTokenCodec {
  /** Id of the master key that new tokens are derived from. */
  readonly currentKeyId: number;
  encode(parts: RefreshTokenParts): string;
  /** Undefined for anything that was not encoded under one of the master keys; compares in constant time. */
  decode(token: string): RefreshTokenParts | undefined;
}

/** Lets secret scanners recognise refresh tokens. */
export const REFRESH_TOKEN_PREFIX = "cnt_rt_";

const VERSION = 1;
const SIGNED_BYTES = 38;
const MAC_BYTES = 32;
const TOTAL_BYTES = SIGNED_BYTES + MAC_BYTES + 4;
const LENGTH = REFRESH_TOKEN_PREFIX.length + Math.ceil((TOTAL_BYTES * 8) / 6);

/** A one-byte id of a master key, by which a token names its key. Derived, so that operators need not number keys. */
function keyIdOf(masterKey: Buffer): number {
  return Buffer.from(hkdfSync("sha256", masterKey, "", "continuo refresh token key id 1", 1)).readUInt8();
}

/**
 * `current` derives new tokens; tokens under `former` stay valid. 32 bytes each. Throws RangeError when two keys have
 * the same id (one pair in 256: generate another). `encode` throws RangeError for the id of any other key.
 */
export function createRefreshTokenCodec([current, ...former]: readonly [Buffer, ...Buffer[]]): RefreshTokenCodec {
  const masterKeys = new Map([current, ...former].map((key) => [keyIdOf(key), createSecretKey(key)]));
  if (masterKeys.size <= former.length) throw new RangeError("two of the master keys have one id: make another");

  function sign(signed: Buffer, masterKey: KeyObject): Buffer {
    const salt = Buffer.concat([signed.subarray(2, 18), signed.subarray(22, 38)]);
    const key = hkdfSync("sha256", masterKey, salt, "continuo refresh token 1", 32);
    // Key objects cost a third of raw bytes.
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
      // One spelling per token: Buffer ignores foreign characters and stray trailing bits.
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
