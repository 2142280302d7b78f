/**
 * What subgraphs answered, as it grows while a plan runs. Its keys are chosen by clients (aliases), so what every object
 * inherits is never taken for data, and nothing is inherited from data.
 */
import { isRecord } from "../subgraph/subgraph-error.ts";

export type Data = Record<string, unknown>;

/** The object's own value under `key`. */
export function read(object: Readonly<Data>, key: string): unknown {
  return Object.hasOwn(object, key) ? object[key] : undefined;
}

/** Sets the object's own value under `key`, also when setters are inherited under that name. */
export function write(object: Data, key: string, value: unknown): void {
  if (key !== "__proto__") object[key] = value;
  else Object.defineProperty(object, key, { value, configurable: true, enumerable: true, writable: true });
}

/** Adds to `target` what `source` has. Objects and lists of one length are merged, all else is replaced. Keeps parts of `source`. */
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

/** The same data in objects of their own. */
export function copy(value: Readonly<Data>): Data {
  const copied: Data = {};
  for (const key of Object.keys(value)) write(copied, key, copyValue(value[key]));
  return copied;
}

function copyValue(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(copyValue);
  return isRecord(value) ? copy(value) : value;
}
