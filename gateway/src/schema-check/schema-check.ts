/** Whether the graph may be merged: it composes, nobody changed what is another's, no client breaks, committed files are current. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { buildSubgraph } from "@apollo/federation-internals";
import type { GraphQLSchema } from "graphql";
import { composedFiles, CompositionError, type Fault, loadSubgraphs, type SubgraphDefinition } from "../compose.ts";
import { readSupergraph } from "../graph/supergraph.ts";
import { collectDocuments, nameOf, OWN_MODULES, toFile } from "../trusted-documents/collect.ts";
import { loadManifest } from "../trusted-documents/trusted-documents.ts";
import { type Baseline, loadBaseline, NoBaseline } from "./baseline.ts";
import { brokenDocuments, compareSchemas, type SchemaChange } from "./changes.ts";
import { findTrespasses, ownersOf } from "./ownership.ts";

export interface SchemaReport {
  readonly ok: boolean;
  /** Composition, ownership and stale files. */
  readonly faults: readonly Fault[];
  /** What it was compared with, or why it was not. */
  readonly against: { readonly commit: string } | { readonly skipped: string };
  readonly changes: readonly (SchemaChange & { readonly isAccepted: boolean })[];
}

export interface SchemaCheckOptions {
  /** Of the repository. */
  readonly root: string;
  /** A git reference; default where this branch left main. */
  readonly against?: string | undefined;
  /** Files with documents of other clients. */
  readonly manifests?: readonly string[] | undefined;
  /** Clients' modules; default our own. */
  readonly modules?: readonly string[];
}

/** The graph as it is in the working tree. */
interface Current {
  readonly subgraphs: readonly SubgraphDefinition[];
  readonly schema: GraphQLSchema;
  /** Texts of clients' documents. */
  readonly documents: readonly string[];
}

/** Checks the working tree. Throws Error when `against` names no commit, or a manifest is none. */
export async function checkSchema(options: SchemaCheckOptions): Promise<SchemaReport> {
  const { root, against, manifests = [], modules = OWN_MODULES } = options;
  const others = manifests.flatMap((file) => Object.values(loadManifest(file)));
  const baseline = baselineOf(root, against);
  const compared = "skipped" in baseline ? baseline : { commit: baseline.commit };
  let subgraphs: readonly SubgraphDefinition[];
  let files: ReturnType<typeof composedFiles>;
  try {
    subgraphs = loadSubgraphs(join(root, "services"));
    files = composedFiles(subgraphs);
  } catch (cause) {
    if (!(cause instanceof CompositionError)) throw cause;
    return { ok: false, faults: cause.faults, against: compared, changes: [] };
  }

  const schema = apiOf(files.supergraph.text);
  const manifest = await collectDocuments(schema, modules);
  const faults = [
    ...findTrespasses(subgraphs),
    ...[files.supergraph, ...files.apis].flatMap(({ path, text }) => staleFault(root, path, text, "npm run compose")),
    ...staleFault(root, "gateway/trusted-documents.json", toFile(manifest), "npm run trusted-documents"),
  ];
  const changes =
    "skipped" in baseline
      ? []
      : await changesSince(baseline, { subgraphs, schema, documents: [...Object.values(manifest), ...others] });
  const accepted = new Set("skipped" in baseline ? [] : baseline.accepted);
  const judged = changes.map((change) => ({ ...change, isAccepted: accepted.has(change.path) }));
  const ok = faults.length === 0 && judged.every(({ level, isAccepted }) => level !== "BREAKING" || isAccepted);
  return { ok, faults, against: compared, changes: judged };
}

function baselineOf(root: string, against: string | undefined): Baseline | { readonly skipped: string } {
  try {
    return loadBaseline(root, against);
  } catch (cause) {
    if (cause instanceof NoBaseline) return { skipped: cause.message };
    throw cause;
  }
}

async function changesSince(baseline: Baseline, now: Current): Promise<SchemaChange[]> {
  // Clients of then are still out there.
  const texts = new Set([...baseline.documents, ...now.documents]);
  const documents = [...texts].map((text) => ({ name: nameOf(text), text }));
  const api = [apiOf(baseline.supergraph), now.schema] as const;
  const changes = await compareSchemas("API", api, documents);
  const named = new Set(changes.flatMap((change) => change.documents));
  const broken = brokenDocuments(api, documents).filter(({ path }) => !named.has(path));
  const own = await Promise.all(
    now.subgraphs.map(async (subgraph) => {
      const before = baseline.subgraphs.find(({ name }) => name === subgraph.name);
      return before ? compareSchemas(subgraph.name, [ownSchemaOf(before), ownSchemaOf(subgraph)], []) : [];
    }),
  );
  // What clients see is told once.
  const told = new Set(changes.map(({ path, message }) => `${path} ${message}`));
  return [
    ...changes,
    ...broken,
    ...own.flat().filter(({ level, path, message }) => level === "BREAKING" && !told.has(`${path} ${message}`)),
    ...movedTypes(baseline.subgraphs, now.subgraphs),
  ];
}

/** Entities that have another owner now. */
function movedTypes(before: Baseline["subgraphs"], now: Current["subgraphs"]): SchemaChange[] {
  const former = ownersOf(before);
  return [...ownersOf(now)].flatMap(([path, owner]): SchemaChange[] => {
    const from = former.get(path);
    if (from === undefined || from === owner) return [];
    return [{ schema: owner, level: "BREAKING", path, message: `${path} was ${from}'s`, documents: [] }];
  });
}

/** What clients see. */
function apiOf(supergraph: string): GraphQLSchema {
  return readSupergraph(supergraph).apiSchema().toGraphQLJSSchema();
}

/** What the gateway asks of a subgraph: one that is older or newer than it asks what is not there any more. */
function ownSchemaOf({ name, typeDefs }: SubgraphDefinition): GraphQLSchema {
  return buildSubgraph(name, `http://${name}`, typeDefs).schema.toGraphQLJSSchema();
}

function staleFault(root: string, path: string, text: string, fix: string): Fault[] {
  const file = join(root, path);
  if (existsSync(file) && readFileSync(file, "utf8") === text) return [];
  return [{ code: "STALE_FILE", message: `${path} is not what the sources say.`, places: [path], fix }];
}
