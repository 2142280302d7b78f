/**
 * Where the events of each subscription come from, as its owner's graph says: `@live` names the query of the same owner
 * that reads after a cursor, `@relayed` the one that opens what nobody keeps; both the topic that says when to ask.
 * `@streamed` says that the owner runs it by itself. So a new subscription is a field in a subgraph, and nothing here.
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
  /** The owner's query: the same result type and arguments, and `since` (`sealed` for what is relayed). */
  readonly query: string;
  /** The topic whose pokes say that the viewer's cursor may be behind, or on which it is relayed. */
  readonly topic: (viewer: Viewer) => string;
  /** Whom a read answers alike, when they ask alike. */
  readonly scope: Scope;
  /** An argument with which the answer is the asker's own all the same. */
  readonly ownWith: string | undefined;
}

/** What the owner runs by itself. Not for a person: that is asked as one of their sessions, which may end before the others. */
const Streamed = z.object({
  /** Whom it tells the same, when they ask alike. */
  scope: Scope.exclude(["USER"]).default("VIEWER"),
  /** Whether those share one of the owner's: who joins hears from then on. */
  shared: z.boolean().default(true),
});
export type Streamed = Readonly<z.output<typeof Streamed>>;

/** All by the name of the subscription's root field. */
export interface Sources {
  /** Of those with a cursor. */
  readonly cursors: ReadonlyMap<string, Source>;
  /** Of those of which nothing is kept. */
  readonly relays: ReadonlyMap<string, Source>;
  /** Of those of which nobody here knows when something happens. */
  readonly streams: ReadonlyMap<string, Streamed>;
}

/** A subscription's field does not say, or says wrongly, where its events come from; `message` lists each fault. */
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

/** Reads a supergraph. Throws LiveFieldError. */
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
      // The plan is the subscription's, what is asked the query's.
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

  /** The subgraphs of a root field; where one alone has roots, only the type says so. */
  function ownersOf(field: FieldDefinitionNode, type: string): string {
    const own = graphsIn("join__field", field.directives);
    return (own.length > 0 ? own : graphsIn("join__type", types.get(type)?.directives)).join(", ");
  }
}

/** A topic may tell apart only those whom the scope tells apart: whoever listens elsewhere is answered otherwise. */
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
