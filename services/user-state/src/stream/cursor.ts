/**
 * A cursor: how far a replica has read, in a form that only we can make and only its person can use.
 * Not an authorisation: every read asks who is calling.
 */
import { createHash, createHmac, createSecretKey, timingSafeEqual } from "node:crypto";
import { AppError } from "@continuo/errors";

export interface Cursor {
  /** UUID in lower case: the epoch in which it was made. */
  readonly epoch: string;
  /** Everything up to here has been read. */
  readonly rev: number;
  /**
   * The head when reading from the start began: deletions up to here need not be told, because what they deleted never
   * was. 0 once the reader has come past it.
   */
  readonly floor: number;
  /** Which namespaces are read, as `namespaceSet` says. */
  readonly namespaces: string;
}

export interface Cursors {
  /** The same cursor of the same user is always the same text. */
  encode(userId: string, cursor: Cursor): string;
  /** Throws BAD_USER_INPUT, CURSOR_INVALID for what is not ours, or another user's. */
  decode(userId: string, text: string): Cursor;
}

const VERSION = 1;
const SET_BYTES = 8;
const PAYLOAD_BYTES = 1 + 16 + 8 + 8 + SET_BYTES;
const MAC_BYTES = 16;

/** Names a set of namespaces; `undefined` is all of them. */
export function namespaceSet(names: readonly string[] | undefined): string {
  if (names === undefined) return "0".repeat(SET_BYTES * 2);
  const sorted = [...new Set(names)].sort();
  return createHash("sha256")
    .update(JSON.stringify(sorted))
    .digest("hex")
    .slice(0, SET_BYTES * 2);
}

/** `key` is 32 secret bytes, the same in every replica. */
export function createCursors(key: Buffer): Cursors {
  const secret = createSecretKey(key);

  function sign(userId: string, payload: Buffer): Buffer {
    return createHmac("sha256", secret)
      .update(`state cursor ${userId} `)
      .update(payload)
      .digest()
      .subarray(0, MAC_BYTES);
  }

  return {
    encode(userId, { epoch, rev, floor, namespaces }) {
      const payload = Buffer.alloc(PAYLOAD_BYTES);
      payload.writeUInt8(VERSION, 0);
      payload.write(epoch.replaceAll("-", ""), 1, "hex");
      payload.writeBigUInt64BE(BigInt(rev), 17);
      payload.writeBigUInt64BE(BigInt(floor), 25);
      payload.write(namespaces, 33, "hex");
      return Buffer.concat([payload, sign(userId, payload)]).toString("base64url");
    },
    decode(userId, text) {
      const bytes = Buffer.from(text, "base64url");
      const payload = bytes.subarray(0, PAYLOAD_BYTES);
      const genuine =
        bytes.length === PAYLOAD_BYTES + MAC_BYTES &&
        payload.readUInt8(0) === VERSION &&
        timingSafeEqual(bytes.subarray(PAYLOAD_BYTES), sign(userId, payload));
      if (!genuine)
        throw new AppError("BAD_USER_INPUT", "CURSOR_INVALID", "This cursor is not one of yours: pull without one.");
      return {
        epoch: payload.toString("hex", 1, 17).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5"),
        rev: Number(payload.readBigUInt64BE(17)),
        floor: Number(payload.readBigUInt64BE(25)),
        namespaces: payload.toString("hex", 33),
      };
    },
  };
}
