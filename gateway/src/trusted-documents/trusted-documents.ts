/**
 * The documents that clients are built with, by the SHA-256 of their text. When only these are served, nobody can run
 * an operation that no client of ours has; sending the text and sending its hash are equivalent.
 */
import { AppError } from "@continuo/errors";
import { EnvError } from "@continuo/process";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { z } from "zod";
import { isRecord } from "../subgraph/subgraph-error.ts";

type Asked = { readonly query: string; readonly documentId?: string | undefined; readonly extensions?: unknown };

export interface TrustedDocuments {
  /**
   * The document that a request asks for: in full (`query`), by `documentId` (GraphQL over HTTP), or by
   * `extensions.persistedQuery.sha256Hash`. Undefined if it has none of these. Throws BAD_USER_INPUT:
   * PERSISTED_QUERY_NOT_FOUND, DOCUMENT_NOT_TRUSTED.
   */
  textOf(request: Asked): string | undefined;
}

/** Documents by their SHA-256 in hexadecimal. */
export type Manifest = Readonly<Record<string, string>>;

/** The key of a text in a manifest. */
export function hashOf(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/**
 * Reads a manifest. Throws EnvError if it cannot be read, is not a manifest, or has a hash that does not match its
 * text.
 */
export function loadManifest(file: string): Manifest {
  const manifest = Texts.safeParse(read(file));
  if (!manifest.success) throw new EnvError(`TRUSTED_DOCUMENTS: ${file} is no manifest: texts by their SHA-256`);
  const wrong = Object.entries(manifest.data).find(([hash, text]) => hashOf(text) !== hash);
  if (wrong) throw new EnvError(`TRUSTED_DOCUMENTS: in ${file}, ${wrong[0]} is not the SHA-256 of its document`);
  return manifest.data;
}

const Texts = z.record(z.string(), z.string());

function read(file: string): unknown {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (cause) {
    throw new EnvError(`TRUSTED_DOCUMENTS: ${file} cannot be read: ${String(cause)}`);
  }
  return parseJson(text);
}

/**
 * Creates the lookup for a manifest; without one, any text is served and hashes are not supported. With `only`, no other
 * text is served.
 */
export function createTrustedDocuments(manifest: Manifest | undefined, only: boolean): TrustedDocuments {
  const texts = manifest && new Map(Object.entries(manifest));
  const trusted = new Set(texts?.values());
  return {
    textOf(request) {
      const text = request.query === "" ? undefined : request.query;
      const hash = hashIn(request);
      if (!texts || (text === undefined && hash === undefined)) return text;
      if (text === undefined) return texts.get(hash ?? "") ?? notFound();
      if (only && !trusted.has(text)) throw notTrusted();
      return text;
    },
  };
}

function hashIn({ documentId, extensions }: Asked): string | undefined {
  if (typeof documentId === "string") return documentId.replace(/^sha256:/, "");
  const persisted = isRecord(extensions) ? extensions["persistedQuery"] : undefined;
  const hash = isRecord(persisted) ? persisted["sha256Hash"] : undefined;
  return typeof hash === "string" ? hash : undefined;
}

/** Undefined if the text is not JSON. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Stock clients recognize this message and retry with the full text. */
function notFound(): never {
  throw new AppError("BAD_USER_INPUT", "PERSISTED_QUERY_NOT_FOUND", "PersistedQueryNotFound");
}

function notTrusted(): AppError {
  return new AppError(
    "BAD_USER_INPUT",
    "DOCUMENT_NOT_TRUSTED",
    "Only documents that clients were built with are served.",
  );
}
