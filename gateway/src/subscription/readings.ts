/**
 * What the owner is asked for streams of events, in whose name, and what becomes of the answer. Streams that the owner
 * answers alike are one question at a time; where no other subgraph has to add what is the viewer's own, they are one event too.
 */
import type { Viewer } from "@continuo/access";
import type { GatewayContext } from "../context.ts";
import type { Answer } from "../plan/operation.ts";
import { placeErrors } from "../subgraph/data-source.ts";
import type { Scope, SubgraphAnswer } from "../subgraph/subgraph-client.ts";
import { isRecord } from "../subgraph/subgraph-error.ts";
import type { CursorReads } from "./cursor-query.ts";
import type { Run } from "./run.ts";
import { sharedCallerOf } from "./scope.ts";
import { createSharedReads, type ShareRead } from "./shared-reads.ts";
import { StreamError } from "./stream-error.ts";

/** What the owner said. */
export interface Reading {
  /** Where the subscription's field stands. */
  readonly batch: unknown;
  /** How far it came, where there is a cursor and a batch. */
  readonly to?: string;
  readonly hasMore?: boolean;
  /** The event as the client asked for it. Others may hold it too. */
  readonly event: () => Promise<Answer>;
  /** Why there is no batch. */
  readonly fault: () => StreamError;
}

/** Asks for what is after `position`, or in it. `signal`: nobody waits for it any more. */
export type Ask = (position: unknown, signal: AbortSignal) => Promise<Reading>;

export interface Readings {
  /** For a stream of `viewer` on one graph. */
  of(run: Run, context: GatewayContext, viewer: Viewer): Ask;
}

interface SharedAnswer extends SubgraphAnswer {
  /** Whose session the owner was told of. */
  readonly sessionId: string;
  readonly event: () => Promise<Answer>;
}

/** Whoever asked may not; others may. */
const REFUSALS: readonly string[] = ["UNAUTHENTICATED", "FORBIDDEN", "STEP_UP_REQUIRED"];

export function createReadings(): Readings {
  // By what was planned: the same text on the same graph.
  const lines = new WeakMap<Run["subscription"], ShareRead<SharedAnswer>>();

  function lineOf(subscription: Run["subscription"]): ShareRead<SharedAnswer> {
    const line = lines.get(subscription) ?? createSharedReads<SharedAnswer>();
    lines.set(subscription, line);
    return line;
  }

  return {
    of(run, context, viewer) {
      const { subscription, variables } = run;
      const { plan, reads, client } = subscription;
      if ("streamed" in reads) throw new Error("what its owner streams is not read");
      const isRelay = "relay" in reads;
      const own = isRelay ? reads.variable : reads.cursorVariable;
      const used = pick(variables, reads.variableNames);

      const ask = (position: unknown, scope: Scope): Promise<SubgraphAnswer> =>
        client.graphql({ query: reads.text, variables: { ...used, [own]: position }, operationName }, scope);
      const { operationName } = plan.source;
      const complete = ({ data, errors }: SubgraphAnswer, scope: GatewayContext): Promise<Answer> =>
        plan.complete({ data: data ?? {}, errors }, variables, scope);
      const toReading = ({ data, errors }: SubgraphAnswer, event: Reading["event"]): Reading => {
        const batch = data?.[reads.responseKey];
        const position = isRelay || !isRecord(batch) ? undefined : positionIn(batch, reads);
        return { batch, ...position, event, fault: () => new StreamError(placeErrors({ errors }, reads.text, {})) };
      };

      const shared = isRelay ? undefined : sharedCallerOf(reads.scopeOf(variables), viewer);
      if (isRelay || !shared)
        return async (position, signal) => {
          const scope = { ...context, signal };
          const answer = await ask(position, scope);
          return toReading(answer, () => complete(answer, scope));
        };

      const share = lineOf(subscription);
      const alike = JSON.stringify([shared.key, reads.besides(variables)]);
      const { requestId, logger } = context;
      const { sessionId } = viewer;
      // What others share does not end with this stream.
      const lasting = { caller: shared.caller, requestId, logger };

      async function read(position: unknown): Promise<SharedAnswer> {
        const answer = await ask(position, lasting);
        let event: Promise<Answer> | undefined;
        return { ...answer, sessionId, event: () => (event ??= complete(answer, lasting)) };
      }

      return async (position, signal) => {
        const key = `${alike} ${JSON.stringify(position)}`;
        let answer = await share(key, () => read(position));
        // Whose session has ended meanwhile is refused alone: the others ask as the next of them.
        while (!signal.aborted && answer.sessionId !== sessionId && isRefused(answer))
          answer = await share(key, () => read(position));
        const { event } = answer;
        return toReading(answer, plan.asksOthers ? () => complete(answer, { ...context, signal }) : event);
      };
    },
  };
}

function positionIn(
  batch: Readonly<Record<string, unknown>>,
  { toKey, hasMoreKey }: CursorReads,
): Pick<Reading, "to" | "hasMore"> {
  const to = batch[toKey];
  return { ...(typeof to === "string" && { to }), hasMore: batch[hasMoreKey] === true };
}

function isRefused({ errors }: SubgraphAnswer): boolean {
  return errors.some(({ extensions }) => REFUSALS.includes(extensions.code));
}

function pick(from: Readonly<Record<string, unknown>>, names: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(names.filter((name) => Object.hasOwn(from, name)).map((name) => [name, from[name]]));
}
