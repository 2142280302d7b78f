/**
 * An op: one change that a replica asks for, and whether it may be made at all.
 * What becomes of it beside other changes is `settle.ts`.
 */
import { MAX_COUNTER, type Instant, type Json } from "@continuo/merge";
import { kindOf, type Kind, type Namespace } from "../namespace/namespace.ts";

export interface Op {
  readonly seq: number;
  readonly namespace: string;
  readonly key: string;
  readonly field: string;
  readonly op: "SET" | "DELETE";
  readonly value?: unknown;
  readonly stamp: Instant;
  readonly seen?: Instant | undefined;
  readonly schemaVersion: number;
}

/** Why an op is refused for good. */
export interface Fault {
  readonly reason: string;
  readonly message: string;
}

/** An op that may be made. `bytes` of key, field and value as JSON. */
export interface SoundOp {
  readonly op: Op;
  readonly kind: Kind;
  readonly value: Json;
  readonly bytes: number;
}

export type JudgedOp = SoundOp | { readonly op: Op; readonly fault: Fault };

const MAX_KEY_CHARACTERS = 256;
const MAX_VALUE_BYTES = 64 * 1024;
/** Deeper values end the recursion of parsers on the way. */
const MAX_VALUE_DEPTH = 64;

/** Judges an op by itself: by the registered namespaces and the limits. */
export function judge(op: Op, namespaces: ReadonlyMap<string, Namespace>): JudgedOp {
  const namespace = namespaces.get(op.namespace);
  if (namespace === undefined) return refuse(op, "NAMESPACE_UNKNOWN", "There is no such namespace.");
  if (op.schemaVersion < 1 || op.schemaVersion > namespace.version)
    return refuse(op, "SCHEMA_VERSION_UNKNOWN", `The newest version of ${namespace.name} is ${namespace.version}.`);
  if (!isName(op.key))
    return refuse(op, "KEY_INVALID", `A key has 1 to ${MAX_KEY_CHARACTERS} characters and no control character NUL.`);
  const kind = isName(op.field) ? kindOf(namespace, op.field) : undefined;
  if (kind === undefined) return refuse(op, "FIELD_UNKNOWN", `${namespace.name} has no such field.`);
  if (!isCounter(op.stamp) || (op.seen && !isCounter(op.seen)))
    return refuse(op, "STAMP_INVALID", `A counter is a number from 0 to ${MAX_COUNTER}.`);
  if (op.op === "DELETE") {
    if (kind === "MAX") return refuse(op, "OP_NOT_ALLOWED", "A field of kind MAX only grows; it is never deleted.");
    return { op, kind, value: null, bytes: 0 };
  }
  return judgeValue(op, kind);
}

function judgeValue(op: Op, kind: Kind): JudgedOp {
  const { value } = op;
  if (kind === "MAX" && typeof value !== "number") return refuse(op, "VALUE_INVALID", "This field holds a number.");
  if (!isJson(value, MAX_VALUE_DEPTH))
    return refuse(op, "VALUE_INVALID", `A value is JSON, at most ${MAX_VALUE_DEPTH} levels deep, without NUL in text.`);
  const bytes = Buffer.byteLength(JSON.stringify(value));
  if (bytes > MAX_VALUE_BYTES)
    return refuse(op, "VALUE_TOO_LARGE", `A value has at most ${MAX_VALUE_BYTES} bytes as JSON.`);
  return { op, kind, value, bytes: bytes + Buffer.byteLength(op.key) + Buffer.byteLength(op.field) };
}

function refuse(op: Op, reason: string, message: string): JudgedOp {
  return { op, fault: { reason, message } };
}

function isName(text: string): boolean {
  return text.length >= 1 && text.length <= MAX_KEY_CHARACTERS && isText(text);
}

/** What Postgres stores as it is: neither NUL nor half a surrogate pair. */
function isText(text: string): boolean {
  return !text.includes("\0") && text.isWellFormed();
}

function isCounter({ counter }: Instant): boolean {
  return counter >= 0 && counter <= MAX_COUNTER;
}

function isJson(value: unknown, depth: number): value is Json {
  if (typeof value === "string") return isText(value);
  if (typeof value === "number") return Number.isFinite(value);
  if (value === null || typeof value === "boolean") return true;
  if (typeof value !== "object" || depth === 0) return false;
  if (Array.isArray(value)) return value.every((element) => isJson(element, depth - 1));
  return Object.entries(value).every(([name, member]) => isText(name) && isJson(member, depth - 1));
}
