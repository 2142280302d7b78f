/**
 * Publishes a definition: compares it with what was published before, refuses it if valid data would become invalid,
 * and otherwise adds it. A published definition never changes.
 */
import { AppError } from "@continuo/errors";
import { compareDefinitions, isSameDefinition, type Change, type NamespaceDefinition } from "@continuo/namespace";
import { namespaceOf, type Revision } from "./namespace.ts";
import { compile, fits } from "./schema.ts";

export interface Publication {
  readonly name: string;
  readonly version: number;
  /** The published revision; for UNCHANGED the existing one; for REFUSED the one it would have been. */
  readonly revision: number;
  /** In a dry run, PUBLISHED means that it would be. */
  readonly result: "PUBLISHED" | "UNCHANGED" | "REFUSED";
  /** The differences from the newest definition; empty for the first one. */
  readonly changes: readonly Change[];
}

export interface PublicationStore {
  /**
   * Serialises the publishers of a namespace, and in one transaction reads its lineage (the newest revision of each
   * version, oldest first), calls `decide` and adds the revision it returns in `add`.
   */
  publish<Decision extends { readonly add: Revision | undefined }>(
    name: string,
    decide: (lineage: readonly Revision[]) => Decision,
  ): Promise<Decision>;
}

/**
 * Publishes `definition`, or reports what would happen. Throws BAD_USER_INPUT/SCHEMA_INVALID for an invalid field
 * schema.
 */
export async function publish(
  store: PublicationStore,
  definition: NamespaceDefinition,
  { dryRun }: { dryRun: boolean },
): Promise<Publication> {
  for (const [field, { schema }] of Object.entries(definition.fields)) assertSchema(field, schema);
  const { publication } = await store.publish(definition.name, (lineage) => {
    const publication = judge(lineage, definition);
    const { result, revision } = publication;
    return { publication, add: result === "PUBLISHED" && !dryRun ? { revision, definition } : undefined };
  });
  return publication;
}

/** The result of publishing `definition` after `lineage`. */
function judge(lineage: readonly Revision[], definition: NamespaceDefinition): Publication {
  const { name, version } = definition;
  if (lineage.length === 0) {
    const why = "is not there yet: the first version of a namespace is 1";
    if (version !== 1)
      return {
        name,
        version,
        revision: 1,
        result: "REFUSED",
        changes: [{ path: "version", why, effect: "IMPOSSIBLE" }],
      };
    return { name, version, revision: 1, result: "PUBLISHED", changes: [] };
  }
  const last = namespaceOf(lineage);
  if (isSameDefinition(last.definition, definition))
    return { name, version, revision: last.revision, result: "UNCHANGED", changes: [] };
  const changes = compareDefinitions(
    lineage.map(({ definition }) => definition),
    definition,
    fits,
  );
  const refused = changes.some(({ effect }) => effect === "BREAKING" || effect === "IMPOSSIBLE");
  const revision = version === last.version ? last.revision + 1 : 1;
  return { name, version, revision, result: refused ? "REFUSED" : "PUBLISHED", changes };
}

function assertSchema(field: string, schema: NamespaceDefinition["fields"][string]["schema"]): void {
  try {
    compile(schema);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new AppError("BAD_USER_INPUT", "SCHEMA_INVALID", `The schema of ${field} cannot be used: ${why}.`, {
      cause,
    });
  }
}
