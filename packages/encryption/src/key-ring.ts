/**
 * The keys of one namespace of one person, and the values they seal: AES-256-GCM (NIST SP 800-38D) with random nonces.
 * The keys are part of the state itself, each wrapped with the root key, as elements of a SET: so they reach every
 * device, are available offline, and two created at the same moment are both kept. Whoever stores the state can read
 * neither keys nor values.
 */
import type { Instant, Json, Payload } from "@continuo/merge";
import { base64, base64urlnopad } from "@scure/base";
import { EncryptionError } from "./encryption-error.ts";
import type { RootKey } from "./recovery-code.ts";

/** The location of a value within the namespace. */
export interface Place {
  readonly key: string;
  readonly field: string;
}

/** The `value` of an OPAQUE unit. */
export type Sealed = Extract<Payload<"OPAQUE">, { type: "SET" }>["value"];

export interface KeyRingOptions {
  readonly root: RootKey;
  /** The id that `me { id }` returns. */
  readonly userId: string;
  readonly namespace: string;
  /** The elements of the SET that holds the namespace's keys; empty before the first `createKey`. */
  readonly elements: readonly string[];
}

export interface KeyRing {
  /** The version of the key that seals: the latest. A replica that has seen a later one waits for it. */
  readonly keyVersion: number;
  /** Seals a value, bound to its place and to the stamp of the change that writes it. */
  seal(place: Place, value: Json, sealedAt: Instant): Promise<Sealed>;
  /** Opens what was sealed for this place. Throws KEY_MISSING, VALUE_FORGED. */
  open(place: Place, sealed: Sealed): Promise<Json>;
}

type DataKey = Awaited<ReturnType<typeof crypto.subtle.unwrapKey>>;

/** An unwrapped element of the ring. */
interface Key {
  readonly element: string;
  readonly version: number;
  readonly key: DataKey;
}

const AES = { name: "AES-GCM", length: 256 };
const USAGES = ["encrypt", "decrypt"] as const;
const NONCE_BYTES = 12;
const ELEMENT = /^([1-9]\d{0,8})\.([\w-]{80})$/;

/**
 * Creates a key, as an element to add to the SET: the namespace's first key, or its next one, well before a key has
 * sealed 2^32 values. Earlier keys stay in the ring to open what they sealed. Throws ROOT_KEY_WRONG.
 */
export async function createKey(options: KeyRingOptions): Promise<string> {
  const { elements } = options;
  if (elements.length > 0) await keysIn(options);
  const version = Math.max(0, ...elements.map((element) => Number(ELEMENT.exec(element)?.[1] ?? 0))) + 1;
  return wrap(options, version, await crypto.subtle.generateKey(AES, true, [...USAGES]));
}

/**
 * Moves the ring to another root key and adds a new key: for use after a device was lost, whose root key opens nothing
 * that is sealed from then on. Add all of `add` to the SET, then remove all of `remove`. Throws ROOT_KEY_WRONG.
 */
export async function changeRootKey(
  options: KeyRingOptions,
  root: RootKey,
): Promise<{ add: readonly string[]; remove: readonly string[] }> {
  const keys = await keysIn(options, true);
  const add = await Promise.all(keys.map(({ version, key }) => wrap({ ...options, root }, version, key)));
  add.push(await createKey({ ...options, root, elements: add }));
  return { add, remove: keys.map(({ element }) => element) };
}

/**
 * Opens the ring. Throws KEY_MISSING when there is no key yet, ROOT_KEY_WRONG when all keys are wrapped with another
 * root key.
 */
export async function openKeyRing(options: KeyRingOptions): Promise<KeyRing> {
  const { userId, namespace } = options;
  const keys = await keysIn(options);
  const { version: keyVersion, key: newest } = keys.at(-1) ?? missing();

  function binding(place: Place, version: number, sealedAt: Instant, nonce: Uint8Array<ArrayBuffer>) {
    const { ms, counter } = sealedAt;
    return aesGcm(nonce, ["value 1", userId, namespace, place.key, place.field, ms, counter, version]);
  }

  return {
    keyVersion,

    async seal(place, value, { ms, counter }) {
      const sealedAt = { ms, counter };
      const nonce = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
      const plain = new TextEncoder().encode(JSON.stringify(value));
      const bytes = await crypto.subtle.encrypt(binding(place, keyVersion, sealedAt, nonce), newest, plain);
      return {
        keyVersion,
        nonce: base64.encode(nonce),
        ciphertext: base64.encode(new Uint8Array(bytes)),
        sealedAt,
      };
    },

    async open(place, { keyVersion: version, nonce, ciphertext, sealedAt }) {
      const candidates = keys.filter((known) => known.version === version);
      if (candidates.length === 0) missing();
      const bytes = bytesIn(ciphertext);
      const algorithm = binding(place, version, sealedAt, bytesIn(nonce));
      for (const { key } of candidates) {
        const plain = await crypto.subtle.decrypt(algorithm, key, bytes).catch(() => undefined);
        if (plain !== undefined) return JSON.parse(new TextDecoder().decode(plain));
      }
      throw new EncryptionError("VALUE_FORGED", "No key of this version has sealed this for this place and instant.");
    },
  };
}

/** The keys that the root key unwraps, by version; keys of one version are in the same order on every device. */
async function keysIn(options: KeyRingOptions, extractable = false): Promise<readonly Key[]> {
  const { elements } = options;
  const opened = await Promise.all(elements.toSorted().map((element) => unwrap(options, element, extractable)));
  const keys = opened.filter((one) => one !== undefined);
  if (keys.length === 0 && elements.length > 0)
    throw new EncryptionError("ROOT_KEY_WRONG", "There are keys, and this recovery code is for none of them.");
  return keys.toSorted((one, other) => one.version - other.version);
}

async function wrap(options: KeyRingOptions, version: number, key: DataKey): Promise<string> {
  const nonce = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
  const wrapped = await crypto.subtle.wrapKey("raw", key, options.root, wrapping(options, version, nonce));
  return `${version}.${base64urlnopad.encode(joined(nonce, wrapped))}`;
}

/** Undefined for an element that the root key does not unwrap. */
async function unwrap(options: KeyRingOptions, element: string, extractable: boolean): Promise<Key | undefined> {
  const [, text, bytes] = ELEMENT.exec(element) ?? [];
  if (text === undefined || bytes === undefined) return undefined;
  const [version, wrapped] = [Number(text), base64urlnopad.decode(bytes)];
  const algorithm = wrapping(options, version, wrapped.slice(0, NONCE_BYTES));
  return crypto.subtle
    .unwrapKey("raw", wrapped.slice(NONCE_BYTES), options.root, algorithm, AES, extractable, [...USAGES])
    .then((key) => ({ element, version, key }))
    .catch(() => undefined);
}

function wrapping({ userId, namespace }: KeyRingOptions, version: number, nonce: Uint8Array<ArrayBuffer>) {
  return aesGcm(nonce, ["key 1", userId, namespace, version]);
}

/** The context is encoded as JSON, so that no two contexts give the same bytes. */
function aesGcm(iv: Uint8Array<ArrayBuffer>, context: readonly (string | number)[]) {
  return { name: "AES-GCM", iv, additionalData: new TextEncoder().encode(JSON.stringify(context)) };
}

/** Empty for invalid base64, which no key opens. */
function bytesIn(text: string): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(base64.decode(text));
  } catch {
    return new Uint8Array();
  }
}

function joined(nonce: Uint8Array, rest: ArrayBuffer): Uint8Array {
  const bytes = new Uint8Array(nonce.length + rest.byteLength);
  bytes.set(nonce);
  bytes.set(new Uint8Array(rest), nonce.length);
  return bytes;
}

function missing(): never {
  throw new EncryptionError("KEY_MISSING", "The key of this version is not in the ring: it may still come.");
}
