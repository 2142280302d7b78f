/**
 * A person's security events as a file (NDJSON): one line per link, `{"record", "hash"}`, then one line with the signed
 * head. The head comes last, so that a truncated download is detected. It names the user and where the chain begins, so
 * the file can be verified with nothing but the installation's public keys.
 */
import { z } from "zod";
import type { CompactVerifyGetKey } from "jose";
import { type Break, emptyChain, EventRecord, type Link, verifyChain } from "./chain.ts";
import { openHead, type HeadSigner, type SignedHead } from "./head.ts";
import type { AuditStore, LinkRange, StoredLink } from "./security-event.ts";

/** The media type of an export over HTTP. */
export const EXPORT_TYPE = "application/x-ndjson";

const PAGE = 1_000;

/** The lines of a user's export, read lazily. */
export type Export = (userId: string) => AsyncIterable<string>;

/** Wires it. */
export function createExport(options: {
  store: Pick<AuditStore, "ends" | "links">;
  sign: HeadSigner;
  now: () => Date;
}): Export {
  const { store, sign, now } = options;
  return async function* lines(userId) {
    // Links up to this head are final, whatever is appended meanwhile.
    const ends = (await store.ends([userId]))[0] ?? emptyChain(userId);
    const range = { after: { userId, seq: ends.base.seq }, last: { userId, seq: ends.head.seq } };
    for await (const { record, hash } of linksIn(store, range)) {
      yield `${JSON.stringify({ record, hash: hash.toString("hex") })}\n`;
    }
    yield `${JSON.stringify({ head: await sign(ends, now()) })}\n`;
  };
}

/** The links of a range in order, read in pages. */
export async function* linksIn(store: Pick<AuditStore, "links">, range: LinkRange): AsyncIterable<StoredLink> {
  let { after } = range;
  for (;;) {
    const page = await store.links({ ...range, after }, PAGE);
    yield* page;
    const newest = page.at(-1);
    if (newest === undefined || page.length < PAGE) return;
    after = newest;
  }
}

const LinkLine = z.strictObject({ record: z.string(), hash: z.string().regex(/^[\da-f]{64}$/) });
const HeadLine = z.strictObject({ head: z.string() });
const Line = z.union([LinkLine, HeadLine]);

/** The fault of a file: a break in its chain, or a problem with the file as a whole. */
export type FileProblem =
  | Break
  | { readonly problem: "LINE_UNREADABLE"; readonly line: number }
  | { readonly problem: "HEAD_MISSING" | "HEAD_NOT_SIGNED" };

export interface FileVerdict {
  readonly checked: number;
  /** Its signed head, if that is genuine. */
  readonly head?: SignedHead;
  readonly firstProblem?: FileProblem;
}

/** Checks an export by its lines alone. `keys` are the installation's public keys. */
export async function verifyExport(lines: AsyncIterable<string>, keys: CompactVerifyGetKey): Promise<FileVerdict> {
  const links: Link[] = [];
  let jws: string | undefined;
  let number = 0;
  for await (const text of lines) {
    number += 1;
    const line = jws === undefined ? parseLine(text) : undefined;
    if (line === undefined) return { checked: 0, firstProblem: { problem: "LINE_UNREADABLE", line: number } };
    if ("head" in line) jws = line.head;
    else links.push(line);
  }
  if (jws === undefined) return { checked: 0, firstProblem: { problem: "HEAD_MISSING" } };
  const head = await openHead(jws, keys);
  if (head === undefined) return { checked: 0, firstProblem: { problem: "HEAD_NOT_SIGNED" } };
  const { checked, firstBreak } = verifyChain(head, links);
  return { checked, head, ...(firstBreak && { firstProblem: firstBreak }) };
}

function parseLine(text: string): Link | { head: string } | undefined {
  try {
    const line = Line.parse(JSON.parse(text));
    if ("head" in line) return line;
    const { seq } = EventRecord.parse(JSON.parse(line.record));
    return { seq, record: line.record, hash: Buffer.from(line.hash, "hex") };
  } catch {
    return undefined;
  }
}
