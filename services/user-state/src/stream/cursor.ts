/**
 * A cursor: how far a replica has read, authenticated so that only the server can create it and only its user can use
 * it. It is not an authorisation: every read checks the caller.
 */
import { createHash, createHmac, createSecretKey, timingSafeEqual } from "node:crypto";
import { AppError } from "@continuo/errors";

export interface Cursor {
  /** The epoch in which it was made, a UUID in lower case. */
  readonly epoch: string;
  /** Everything up to this revision has been read. */
  readonly rev: number;
  /**
   * The head when reading from the start began: deletions up to this revision need not be sent, because the reader
   * never received what they deleted. 0 once the reader has passed it.
   */
  readonly floor: number;
  /** The namespaces being read, as `namespaceSet` encodes them. */
  readonly namespaces: string;
}

export interface Cursors {
  /** Deterministic: the same cursor of the same user always gives the same text. */
  encode(userId: string, cursor: Cursor): string;
  /** Throws BAD_USER_INPUT, CURSOR_INVALID for a cursor that is forged or another user's. */
  decode(userId: string, text: string): Cursor;
}

const VERSION = 1;
const SET_BYTES = 8;
const PAYLOAD_BYTES = 1 + 16 + 8 + 8 + SET_BYTES;
const MAC_BYTES = 16;

/** Identifies a set of namespaces; `undefined` means all. */
export function namespaceSet(names: readonly string[] | undefined): string {
  if (names === undefined) return "0".repeat(SET_BYTES * 2);
  const sorted = [...new Set(names)].sort();
  return createHash("sha256")
    .update(JSON.stringify(sorted))
    .digest("hex")
    .slice(0, SET_BYTES * 2);
}

/** `key` is 32 secret bytes, shared by all replicas of the service. */
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
