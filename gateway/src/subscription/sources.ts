/**
 * Where each subscription's events come from, as declared in its owner's graph. `@live` names the owner's query that
 * reads after a cursor, `@relayed` the one that opens relayed changes, which nobody stores; both name the topic that
 * announces changes. `@streamed` says that the owner executes the subscription itself. A new subscription is therefore
 * a field in a subgraph, and needs nothing here.
 */
import type { Viewer } from "@continuo/access";
import {
  type ConstDirectiveNode,
  type FieldDefinitionNode,
  Kind,
  type ObjectTypeDefinitionNode,
  parse,
  print,
  valueFromASTUntyped,
} from "graphql";
import { z } from "zod";
import { COMMON, PLACES, Scope } from "./scope.ts";

export interface Source {
  /**
   * The owner's query. It has the subscription's result type and arguments, and in addition `since` (`sealed` for
   * `@relayed`).
   */
  readonly query: string;
  /** The topic whose pokes say that the viewer's cursor may be behind, or on which changes are relayed. */
  readonly topic: (viewer: Viewer) => string;
  /** The viewers that get the same answer to the same request. */
  readonly scope: Scope;
  /** An argument that, when given, makes the answer the viewer's own regardless of the scope. */
  readonly ownWith: string | undefined;
}

/**
 * A subscription that the owner executes. Scope USER is excluded: such a stream would run as one of the user's
 * sessions, which may end before the others.
 */
const Streamed = z.object({
  /** The viewers that get the same events for the same request. */
  scope: Scope.exclude(["USER"]).default("VIEWER"),
  /** Whether those viewers share one operation at the owner; one that joins gets events from then on. */
  shared: z.boolean().default(true),
});
export type Streamed = Readonly<z.output<typeof Streamed>>;

/** All sources, by the name of the subscription's root field. */
export interface Sources {
  /** `@live` fields, which have a cursor. */
  readonly cursors: ReadonlyMap<string, Source>;
  /** `@relayed` fields, of which nothing is stored. */
  readonly relays: ReadonlyMap<string, Source>;
  /** `@streamed` fields, for which only the owner knows when something happens. */
  readonly streams: ReadonlyMap<string, Streamed>;
}

/** A subscription's field has no valid declaration of where its events come from; `message` lists each fault. */
export class LiveFieldError extends Error {
  override readonly name = "LiveFieldError";
  readonly code = "E_LIVE_FIELD";
  readonly faults: readonly string[];

  constructor(faults: readonly string[]) {
    super(faults.join("\n"));
    this.faults = faults;
  }
}

const PLACE = /\{(\w+)\}/g;
const Declaration = z.object({
  query: z.string(),
  topic: z
    .string()
    .regex(/^[a-z][a-z0-9-]*(:(\{\w+\}|[a-z0-9-]+))*$/, "expected a topic such as invoices:{userId}")
    .refine(
      (topic) => [...topic.matchAll(PLACE)].every(([, place]) => PLACES.some((known) => known === place)),
      `expected none but {${PLACES.join("}, {")}}`,
    ),
  scope: Scope.default("VIEWER"),
  ownWith: z.string().optional(),
});
type Declaration = z.output<typeof Declaration>;
const NEEDED = { live: "since: String", relayed: "sealed: [String!]!" } as const;

/** Reads the sources from a supergraph. Throws LiveFieldError. */
export function readSources(supergraphSdl: string): Sources {
  const types = objectTypesOf(supergraphSdl);
  const queries = types.get("Query");
  const cursors = new Map<string, Source>();
  const relays = new Map<string, Source>();
  const streams = new Map<string, Streamed>();
  const faults: string[] = [];

  for (const field of types.get("Subscription")?.fields ?? []) {
    const name = field.name.value;
    const said = (field.directives ?? []).filter(isDeclaration);
    const [directive] = said;
    if (directive === undefined || said.length > 1) {
      faults.push(`Subscription.${name} has to have one of @live, @relayed and @streamed`);
      continue;
    }
    if (directive.name.value === "streamed") {
      const parsed = Streamed.safeParse(argumentsOf(directive));
      if (parsed.success) streams.set(name, parsed.data);
      else faults.push(`Subscription.${name} @streamed: ${z.prettifyError(parsed.error)}`);
      continue;
    }
    const kind = directive.name.value === "live" ? "live" : "relayed";
    const parsed = Declaration.safeParse(argumentsOf(directive));
    if (!parsed.success) {
      faults.push(`Subscription.${name} @${kind}: ${z.prettifyError(parsed.error)}`);
      continue;
    }
    const { query, topic, scope, ownWith } = parsed.data;
    const found = queries?.fields?.find((candidate) => candidate.name.value === query);
    const wrong = [
      ...(found === undefined ? [`there is no Query.${query}`] : faultsOf(kind, field, found)),
      ...sharingFaultsOf(field, parsed.data),
    ];
    faults.push(...wrong.map((fault) => `Subscription.${name} @${kind}: ${fault}`));
    (kind === "live" ? cursors : relays).set(name, { query, topic: topicOf(topic), scope, ownWith });
  }
  if (faults.length > 0) throw new LiveFieldError(faults);
  return { cursors, relays, streams };

  function faultsOf(kind: keyof typeof NEEDED, field: FieldDefinitionNode, query: FieldDefinitionNode): string[] {
    const name = query.name.value;
    const taken = argumentTypesOf(query);
    const wanted = [...new Set([NEEDED[kind], ...argumentTypesOf(field)])];
    const result = types.get(print(query.type).replaceAll(/[[\]!]/g, ""));
    const fields = (result?.fields ?? []).map((told) => `${told.name.value}: ${print(told.type)}`);
    const untold = kind === "live" ? ["to: String!", "hasMore: Boolean!"].filter((told) => !fields.includes(told)) : [];
    const given = new Set(wanted.map((argument) => argument.split(":")[0]));
    const demanded = (query.arguments ?? []).filter(
      (argument) =>
        argument.type.kind === Kind.NON_NULL_TYPE && !argument.defaultValue && !given.has(argument.name.value),
    );
    return [
      ...(ownersOf(field, "Subscription") === ownersOf(query, "Query") ? [] : [`Query.${name} is of another subgraph`]),
      // The plan is made for the subscription, but the query is what is sent.
      ...(providedBy(field) === providedBy(query) ? [] : [`Query.${name} has to say the same @provides`]),
      ...(print(field.type) === print(query.type) ? [] : [`Query.${name} has to give ${print(field.type)}`]),
      ...wanted
        .filter((argument) => !taken.includes(argument))
        .map((argument) => `Query.${name} has to take (${argument})`),
      ...demanded.map((argument) => `Query.${name} must not demand (${argument.name.value}:)`),
      ...untold.map((told) => `${print(query.type)} has to have ${told}`),
      ...(kind === "relayed" && !print(query.type).startsWith("[") ? [`Query.${name} has to give a list`] : []),
    ];
  }

  /** The subgraphs that own a root field; if only one has the root type, only the type says so. */
  function ownersOf(field: FieldDefinitionNode, type: string): string {
    const own = graphsIn("join__field", field.directives);
    return (own.length > 0 ? own : graphsIn("join__type", types.get(type)?.directives)).join(", ");
  }
}

/**
 * A topic may distinguish only viewers that the scope distinguishes; viewers on different topics would otherwise share
 * reads.
 */
function sharingFaultsOf(field: FieldDefinitionNode, { topic, scope, ownWith }: Declaration): string[] {
  const common: readonly string[] = COMMON[scope];
  const own = [...topic.matchAll(PLACE)].flatMap(([place, name = ""]) => (common.includes(name) ? [] : [place]));
  const isArgument = field.arguments?.some(({ name }) => name.value === ownWith);
  return [
    ...own.map((place) => `of scope ${scope} the topic must not name ${place}`),
    ...(ownWith === undefined || isArgument ? [] : [`ownWith has to be an argument, which ${ownWith} is not`]),
  ];
}

function objectTypesOf(sdl: string): Map<string, ObjectTypeDefinitionNode> {
  return new Map(
    parse(sdl, { noLocation: true }).definitions.flatMap((definition) =>
      definition.kind === Kind.OBJECT_TYPE_DEFINITION ? [[definition.name.value, definition]] : [],
    ),
  );
}

function isDeclaration({ name }: ConstDirectiveNode): boolean {
  return name.value === "live" || name.value === "relayed" || name.value === "streamed";
}

function argumentsOf({ arguments: given = [] }: ConstDirectiveNode): Record<string, unknown> {
  return Object.fromEntries(given.map(({ name, value }) => [name.value, valueFromASTUntyped(value)]));
}

function argumentTypesOf(field: FieldDefinitionNode): string[] {
  return (field.arguments ?? []).map(({ name, type }) => `${name.value}: ${print(type)}`);
}

function graphsIn(directive: string, directives: readonly ConstDirectiveNode[] = []): string[] {
  return directives
    .filter(({ name }) => name.value === directive)
    .map((join) => String(argumentsOf(join)["graph"]))
    .sort();
}

function providedBy({ directives = [] }: FieldDefinitionNode): string {
  return JSON.stringify(directives.flatMap((join) => argumentsOf(join)["provides"] ?? []));
}

function topicOf(template: string): Source["topic"] {
  return (viewer) =>
    template.replaceAll(PLACE, (_whole, place: string) => {
      const known = PLACES.find((name) => name === place);
      return known === undefined ? "" : viewer[known];
    });
}
