/**
 * Reads from the owner for streams of events: as which caller, and how its answer becomes an event. Streams that get
 * the same answer share one read at a time; if no other subgraph adds viewer-specific data, they share the event too.
 */
import type { Viewer } from "@continuo/access";
import type { GatewayContext } from "../context.ts";
import type { Answer } from "../plan/operation.ts";
import { placeErrors } from "../subgraph/data-source.ts";
import type { Scope, SubgraphAnswer } from "../subgraph/subgraph-client.ts";
import { isRecord } from "../subgraph/subgraph-error.ts";
import type { CursorPage, Waiting } from "./cursor-stream.ts";
import type { Run } from "./run.ts";
import { type SharedCaller, sharedCallerOf } from "./scope.ts";
import { createSharedReads, type ShareRead } from "./shared-reads.ts";
import { StreamError } from "./stream-error.ts";

/** The owner's answer. */
export interface Reading {
  /** The value of the subscription's field. */
  readonly batch: unknown;
  /** The completed event. Others may hold it too. */
  readonly event: () => Promise<Answer>;
  /** Set if the subscription has a cursor and the answer a batch. */
  readonly page: CursorPage<Answer> | undefined;
  /** The error if there is no batch. */
  readonly fault: () => StreamError;
}

/** A viewer's stream on one graph. */
export interface Asking {
  readonly run: Run;
  readonly context: GatewayContext;
  readonly viewer: Viewer;
  /** The result of `Readings.alike`. */
  readonly alike: string | undefined;
}

export interface Readings {
  /**
   * A key that is equal for streams that get the same answer at the same position. Undefined if the stream shares with
   * none.
   */
  alike(run: Run, viewer: Viewer): string | undefined;
  /** Reads what is after the cursor `position`, or opens the sealed texts in it; `heard` as in `CursorSource.read`. */
  ask(asking: Asking, position: unknown, waiting: Waiting, heard?: number): Promise<Reading>;
}

interface SharedReading extends Reading {
  readonly answer: SubgraphAnswer;
  /** The session on whose behalf the owner was called. */
  readonly sessionId: string;
  readonly isRefused: boolean;
}

/** Codes that refuse one caller; others may still be allowed. */
const REFUSALS: readonly string[] = ["UNAUTHENTICATED", "FORBIDDEN", "STEP_UP_REQUIRED"];

export function createReadings(): Readings {
  // By plan: the same text on the same graph.
  const lines = new WeakMap<Run["subscription"], ShareRead<SharedReading>>();

  function lineOf(subscription: Run["subscription"]): ShareRead<SharedReading> {
    const line = lines.get(subscription) ?? createSharedReads<SharedReading>();
    lines.set(subscription, line);
    return line;
  }

  /** Starts a read that other streams may share, so it does not end with this stream. */
  async function readFor({ run, context, viewer }: Asking, position: unknown, heard?: number): Promise<SharedReading> {
    const shared = sharedBy(run, viewer);
    if (!shared) throw new Error("what is the viewer's own is not shared");
    const lasting = { caller: shared.caller, requestId: context.requestId, logger: context.logger };
    const answer = await askOwner(run, position, lasting, heard);
    let event: Promise<Answer> | undefined;
    const reading = toReading(run, answer, () => (event ??= complete(run, answer, lasting)));
    return { ...reading, answer, sessionId: viewer.sessionId, isRefused: isRefused(answer) };
  }

  return {
    alike(run, viewer) {
      const { reads } = run.subscription;
      const shared = sharedBy(run, viewer);
      return shared && "besides" in reads ? JSON.stringify([shared.key, reads.besides(run.variables)]) : undefined;
    },

    async ask(asking, position, waiting, heard) {
      const { run, context, viewer, alike } = asking;
      if (alike === undefined) {
        const scope = { ...context, signal: waiting.signal };
        const answer = await askOwner(run, position, scope, heard);
        return toReading(run, answer, () => complete(run, answer, scope));
      }
      const share = lineOf(run.subscription);
      const key = `${alike} ${JSON.stringify([position, heard])}`;
      const read = (): Promise<SharedReading> => readFor(asking, position, heard);
      let reading = await share(key, read);
      // If the session used for the read has ended, only it is refused; the other streams read again in the name of one
      // of theirs.
      while (reading.isRefused && !waiting.isClosed && reading.sessionId !== viewer.sessionId)
        reading = await share(key, read);
      if (!run.subscription.plan.asksOthers) return reading;
      const { answer } = reading;
      return toReading(run, answer, () => complete(run, answer, { ...context, signal: waiting.signal }));
    },
  };
}

function sharedBy({ subscription: { reads }, variables }: Run, viewer: Viewer): SharedCaller | undefined {
  return "scopeOf" in reads ? sharedCallerOf(reads.scopeOf(variables), viewer) : undefined;
}

function askOwner(
  { subscription, variables }: Run,
  position: unknown,
  scope: Scope,
  heard: number | undefined,
): Promise<SubgraphAnswer> {
  const { plan, reads, client } = subscription;
  if ("streamed" in reads) throw new Error("what its owner streams is not read");
  const own = "relay" in reads ? reads.variable : reads.cursorVariable;
  const asked = { ...pick(variables, reads.variableNames), [own]: position };
  return client.graphql(
    { query: reads.text, variables: asked, operationName: plan.source.operationName, heard },
    scope,
  );
}

function complete(
  { subscription, variables }: Run,
  { data, errors }: SubgraphAnswer,
  scope: GatewayContext,
): Promise<Answer> {
  return subscription.plan.complete({ data: data ?? {}, errors }, variables, scope);
}

function toReading(
  { subscription: { reads } }: Run,
  { data, errors }: SubgraphAnswer,
  event: Reading["event"],
): Reading {
  if ("streamed" in reads) throw new Error("what its owner streams is not read");
  const batch = data?.[reads.responseKey];
  const to = "cursorVariable" in reads && isRecord(batch) ? batch[reads.toKey] : undefined;
  const hasMore = "cursorVariable" in reads && isRecord(batch) && batch[reads.hasMoreKey] === true;
  return {
    batch,
    event,
    page: typeof to === "string" ? { to, hasMore, event } : undefined,
    fault: () => new StreamError(placeErrors({ errors }, reads.text, {})),
  };
}

function isRefused({ errors }: SubgraphAnswer): boolean {
  return errors.some(({ extensions }) => REFUSALS.includes(extensions.code));
}

function pick(from: Readonly<Record<string, unknown>>, names: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(names.filter((name) => Object.hasOwn(from, name)).map((name) => [name, from[name]]));
}
