/**
 * Argon2id password hashes (RFC 9106) as PHC strings. Computing one occupies its memory and one of libuv's four
 * threads; `turnstile.ts` bounds how many run at once, and `sign-in.ts` decides what a match or a miss means.
 */
import { argon2, randomBytes, timingSafeEqual } from "node:crypto";
import { promisify } from "node:util";

/** Memory in KiB, passes, lanes. */
export interface Argon2Cost {
  readonly memoryKib: number;
  readonly passes: number;
  readonly parallelism: number;
}

/** OWASP's minimum: 19 MiB, two passes, one lane. */
export const ARGON2_COST: Argon2Cost = { memoryKib: 19_456, passes: 2, parallelism: 1 };

export interface PasswordHasher {
  /** A PHC string with a fresh salt. */
  hash(password: string): Promise<string>;
  /**
   * Whether `phc` is a hash of `password`. Null costs the same work and never matches.
   * `isOutdated` when the hash was made at a cost other than the current one.
   */
  verify(phc: string | null, password: string): Promise<{ matches: boolean; isOutdated: boolean }>;
}

const SALT_BYTES = 16;
const TAG_BYTES = 32;
const PHC = /^\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$/;
const deriveKey = promisify(argon2);

/** Hashes at `cost`; verifies hashes of any cost. */
export function createPasswordHasher(cost: Argon2Cost = ARGON2_COST): PasswordHasher {
  // A random tag, which no password matches.
  const nobody: Phc = { cost, salt: randomBytes(SALT_BYTES), tag: randomBytes(TAG_BYTES) };

  const derive = async (
    password: string,
    salt: Buffer,
    { memoryKib, passes, parallelism }: Argon2Cost,
    length: number,
  ) =>
    deriveKey("argon2id", {
      message: Buffer.from(password, "utf8"),
      nonce: salt,
      memory: memoryKib,
      passes,
      parallelism,
      tagLength: length,
    });

  return {
    async hash(password) {
      const salt = randomBytes(SALT_BYTES);
      return format({ cost, salt, tag: await derive(password, salt, cost, TAG_BYTES) });
    },
    async verify(phc, password) {
      const known = phc === null ? nobody : parse(phc);
      const tag = await derive(password, known.salt, known.cost, known.tag.length);
      return { matches: timingSafeEqual(tag, known.tag), isOutdated: !sameCost(known.cost, cost) };
    },
  };
}

interface Phc {
  readonly cost: Argon2Cost;
  readonly salt: Buffer;
  readonly tag: Buffer;
}

function format({ cost, salt, tag }: Phc): string {
  const base64 = (bytes: Buffer): string => bytes.toString("base64").replace(/=+$/, "");
  const { memoryKib, passes, parallelism } = cost;
  return `$argon2id$v=19$m=${memoryKib},t=${passes},p=${parallelism}$${base64(salt)}$${base64(tag)}`;
}

function parse(phc: string): Phc {
  const [, memory, passes, parallelism, salt, tag] = PHC.exec(phc) ?? [];
  if (salt === undefined || tag === undefined) throw new Error("a stored password hash is not an argon2id PHC string");
  return {
    cost: { memoryKib: Number(memory), passes: Number(passes), parallelism: Number(parallelism) },
    salt: Buffer.from(salt, "base64"),
    tag: Buffer.from(tag, "base64"),
  };
}

function sameCost(one: Argon2Cost, other: Argon2Cost): boolean {
  return one.memoryKib === other.memoryKib && one.passes === other.passes && one.parallelism === other.parallelism;
}
