/** An op: one change that a replica requests, and whether it is valid. `settle.ts` merges it with other changes. */
import {
  isJson,
  isText,
  jsonBytes,
  MAX_COUNTER,
  MAX_VALUE_BYTES,
  MAX_VALUE_DEPTH,
  type Instant,
  type Json,
  type KindName,
} from "@continuo/merge";
import type { Persistence } from "@continuo/namespace";
import { parsePayload, type OpMessage, type RejectReason } from "@continuo/merge/protocol";
import { kindOf, type Namespace } from "../namespace/namespace.ts";
import { liftChange, liftUnit, validate } from "../namespace/versions.ts";
import type { Amount, Unit } from "./unit.ts";

export type Op = OpMessage;

/** Why an op is refused for good. */
export interface Fault {
  readonly reason: RejectReason;
  readonly message: string;
}

/** A valid op. */
export interface ValidOp {
  /** The op in the newest namespace version, whichever it was made under; `field` is the unit's stored name. */
  readonly op: Op;
  readonly kind: KindName;
  /** The validated payload, without unknown members. */
  readonly payload: Json;
  /** The size of key, field and payload as JSON. */
  readonly bytes: number;
  /** The namespace's quota. */
  readonly quota: Amount;
  readonly persistence: Exclude<Persistence, "NONE">;
  /** For TTL: how long the unit is kept from now on; null otherwise. */
  readonly ttlSeconds: number | null;
  /** Converts the current unit to the newest namespace version. */
  lift<Standing extends Unit>(standing: Standing): Standing;
}

/** A valid op, or the fault of an invalid one; `isStored` says whether anything of it may be looked up or stored. */
export type ValidatedOp = (ValidOp | { readonly op: Op; readonly fault: Fault }) & { readonly isStored: boolean };

const MAX_KEY_CHARACTERS = 256;
const MAX_MESSAGE_CHARACTERS = 1_000;
/** The size of key, field and payload as JSON; sealed with the rest of the message, this fits into a relay. */
export const MAX_RELAYED_BYTES = 4 * 1024;

/** Validates a single op against the registered namespaces and the limits. */
export function validateOp(op: Op, namespaces: ReadonlyMap<string, Namespace>): ValidatedOp {
  const namespace = namespaces.get(op.namespace);
  if (namespace === undefined)
    return { ...refuse(op, "NAMESPACE_UNKNOWN", "There is no such namespace."), isStored: false };
  const { name, definition } = namespace;
  const { persistence } = definition;
  if (persistence === "NONE")
    return { ...refuse(op, "NAMESPACE_NOT_STORED", `${name} is NONE: it stays on the device.`), isStored: false };
  if (persistence !== "RELAY") return { ...validateIn(namespace, persistence, op), isStored: true };
  const validated = validateIn(namespace, persistence, op);
  // Outcomes are stored, and the message could quote the value.
  if ("fault" in validated)
    return {
      ...refuse(op, validated.fault.reason, `This is not for ${name}. As it is RELAY, no more is said.`),
      isStored: false,
    };
  const bytes = jsonBytes([op.key, op.field, validated.payload]);
  if (bytes > MAX_RELAYED_BYTES)
    return {
      ...refuse(op, "VALUE_TOO_LARGE", `A change of ${name} has at most ${MAX_RELAYED_BYTES} bytes, as it is RELAY.`),
      isStored: false,
    };
  return { ...validated, isStored: false };
}

/** The op, refused because too many were relayed before it. */
export function refuseForRate({ op }: ValidatedOp): ValidatedOp {
  const message = "Too many changes are relayed at once: send fewer, and only what still matters.";
  return { ...refuse(op, "OVER_QUOTA", message), isStored: false };
}

type Verdict = ValidOp | { readonly op: Op; readonly fault: Fault };

function validateIn(namespace: Namespace, persistence: ValidOp["persistence"], op: Op): Verdict {
  if (op.schemaVersion > namespace.version)
    return refuse(op, "SCHEMA_VERSION_UNKNOWN", `The newest version of ${namespace.name} is ${namespace.version}.`);
  if (!isName(op.key))
    return refuse(op, "KEY_INVALID", `A key has 1 to ${MAX_KEY_CHARACTERS} characters and no control character NUL.`);
  const kind = isName(op.field) ? kindOf(namespace, op.field, op.schemaVersion) : undefined;
  if (kind === undefined) return refuse(op, "FIELD_UNKNOWN", `${namespace.name} has no such field.`);
  if (!isCounter(op.stamp) || (op.seen !== null && !isCounter(op.seen)))
    return refuse(op, "STAMP_INVALID", `A counter is a number from 0 to ${MAX_COUNTER}.`);
  const parsed = parsePayload(kind, op.payload);
  if (!parsed.success) return refuse(op, payloadFault(op.payload, parsed.path), parsed.message);
  const fault = validate(namespace, op.field, parsed.payload, op.schemaVersion);
  if (fault !== undefined) return refuse(op, fault.reason, fault.message);
  const lifted = liftChange(namespace, { ...op, payload: parsed.payload });
  if (lifted === undefined)
    return refuse(op, "FIELD_UNKNOWN", `${op.field} is no part of version ${namespace.version} of ${namespace.name}.`);
  const { payload } = lifted;
  const bytes = jsonBytes(payload) + Buffer.byteLength(op.key) + Buffer.byteLength(op.field);
  return {
    op: lifted,
    kind,
    payload,
    bytes,
    quota: namespace.definition.quota,
    persistence,
    ttlSeconds: namespace.definition.ttlSeconds,
    lift: (standing) => {
      if (standing.schemaVersion === namespace.version) return standing;
      const { state = standing.state } =
        liftUnit(namespace, { field: lifted.field, state: standing.state, schemaVersion: standing.schemaVersion }) ??
        {};
      return { ...standing, state };
    },
  };
}

/** An unknown payload type is an op that this kind does not have. */
function payloadFault(payload: unknown, path: readonly PropertyKey[]): RejectReason {
  if (path.length === 1 && path[0] === "type") return "OP_NOT_ALLOWED";
  // A payload that is too deep to be a value is too deep to be measured.
  const isTooLarge = isJson(payload, MAX_VALUE_DEPTH + 1) && jsonBytes(payload) > MAX_VALUE_BYTES;
  return isTooLarge ? "VALUE_TOO_LARGE" : "VALUE_INVALID";
}

/** Truncates the message: it may quote what was sent, and is stored as long as the outcome. */
function refuse(op: Op, reason: RejectReason, message: string): { readonly op: Op; readonly fault: Fault } {
  return { op, fault: { reason, message: message.slice(0, MAX_MESSAGE_CHARACTERS).toWellFormed() } };
}

/** Whether `text` is a valid key, field or namespace name; Postgres accepts no others. */
export function isName(text: string): boolean {
  return text.length >= 1 && text.length <= MAX_KEY_CHARACTERS && isText(text);
}

function isCounter({ counter }: Instant): boolean {
  return counter <= MAX_COUNTER;
}
