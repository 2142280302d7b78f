/**
 * Checks whether the graph may be merged: it composes, no subgraph changes what another owns, no client breaks, and the
 * committed files are current.
 */
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
  /** The commit compared with, or why there was no comparison. */
  readonly against: { readonly commit: string } | { readonly skipped: string };
  readonly changes: readonly (SchemaChange & { readonly isAccepted: boolean })[];
}

export interface SchemaCheckOptions {
  /** The repository's root directory. */
  readonly root: string;
  /** A git ref; by default the commit where this branch left main. */
  readonly against?: string | undefined;
  /** Manifests of other clients' documents. */
  readonly manifests?: readonly string[] | undefined;
  /** Client modules; by default our own. */
  readonly modules?: readonly string[];
}

/** The graph as it is in the working tree. */
interface Current {
  readonly subgraphs: readonly SubgraphDefinition[];
  readonly schema: GraphQLSchema;
  /** Texts of client documents. */
  readonly documents: readonly string[];
}

/** Checks the working tree. Throws Error if `against` is not a commit or a manifest is invalid. */
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
  // Clients built at the baseline are still in use.
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
  // A change visible to clients is reported once.
  const told = new Set(changes.map(({ path, message }) => `${path} ${message}`));
  return [
    ...changes,
    ...broken,
    ...own.flat().filter(({ level, path, message }) => level === "BREAKING" && !told.has(`${path} ${message}`)),
    ...movedTypes(baseline.subgraphs, now.subgraphs),
  ];
}

/** Entities whose owner has changed. */
function movedTypes(before: Baseline["subgraphs"], now: Current["subgraphs"]): SchemaChange[] {
  const former = ownersOf(before);
  return [...ownersOf(now)].flatMap(([path, owner]): SchemaChange[] => {
    const from = former.get(path);
    if (from === undefined || from === owner) return [];
    return [{ schema: owner, level: "BREAKING", path, message: `${path} was ${from}'s`, documents: [] }];
  });
}

/** The API schema, which clients see. */
function apiOf(supergraph: string): GraphQLSchema {
  return readSupergraph(supergraph).apiSchema().toGraphQLJSSchema();
}

/**
 * The subgraph's own schema. During a rollout, a gateway older or newer than the subgraph may query fields that are
 * gone.
 */
function ownSchemaOf({ name, typeDefs }: SubgraphDefinition): GraphQLSchema {
  return buildSubgraph(name, `http://${name}`, typeDefs).schema.toGraphQLJSSchema();
}

function staleFault(root: string, path: string, text: string, fix: string): Fault[] {
  const file = join(root, path);
  if (existsSync(file) && readFileSync(file, "utf8") === text) return [];
  return [{ code: "STALE_FILE", message: `${path} is not what the sources say.`, places: [path], fix }];
}
