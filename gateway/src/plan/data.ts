/**
 * The subgraphs' data, as it grows while a plan runs. Clients choose its keys (aliases), so inherited properties such
 * as `__proto__` are never read as data, nor set as a prototype by it.
 */
import { isRecord } from "../subgraph/subgraph-error.ts";

export type Data = Record<string, unknown>;

/** The object's own value under `key`. */
export function read(object: Readonly<Data>, key: string): unknown {
  return Object.hasOwn(object, key) ? object[key] : undefined;
}

/** Sets the object's own value under `key`, even if a setter of that name is inherited. */
export function write(object: Data, key: string, value: unknown): void {
  if (key !== "__proto__") object[key] = value;
  else Object.defineProperty(object, key, { value, configurable: true, enumerable: true, writable: true });
}

/**
 * Deep-merges `source` into `target`: objects, and lists of equal length, are merged; anything else is replaced.
 * `target` may keep parts of `source`.
 */
export function merge(target: Data, source: Readonly<Data>): void {
  for (const key of Object.keys(source)) {
    const value = source[key];
    if (value !== undefined) write(target, key, merged(read(target, key), value));
  }
}

function merged(present: unknown, value: unknown): unknown {
  if (isRecord(present) && isRecord(value)) {
    merge(present, value);
    return present;
  }
  if (!Array.isArray(present) || !Array.isArray(value) || present.length !== value.length) return value;
  for (let index = 0; index < present.length; index += 1) present[index] = merged(present[index], value[index]);
  return present;
}

/** A deep copy of the data. */
export function copy(value: Readonly<Data>): Data {
  const copied: Data = {};
  for (const key of Object.keys(value)) write(copied, key, copyValue(value[key]));
  return copied;
}

function copyValue(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(copyValue);
  return isRecord(value) ? copy(value) : value;
}
