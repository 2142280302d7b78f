/**
 * For tests: what several replicas do to one unit, some of it without knowing of each other, and the orders in which it
 * may arrive. In each round everybody pushes something; a replica has pulled what came up to some earlier round.
 */
import * as fc from "fast-check";
import type { Applied, Context, Kind } from "./kind.ts";
import { compareInstants, instantAfter, type Instant } from "./stamp.ts";

/** One op with all that does not depend on when it arrives. */
export interface Authored<Payload> {
  readonly payload: Payload;
  readonly context: Omit<Context, "rev">;
  /** What its author knew of when they made it. */
  readonly saw: ReadonlySet<Authored<Payload>>;
}

export interface History<Payload> {
  /** In one order of arrival, each round a list. */
  readonly rounds: readonly (readonly Authored<Payload>[])[];
  /** The same ops in another order that keeps every replica's own. */
  readonly otherwise: readonly Authored<Payload>[];
}

const REPLICAS = 3;

/** The id of a replica, or of its device. */
export function replicaId(index: number, letter = "a"): string {
  return `${letter}000000${index}-0000-4000-8000-000000000000`;
}

const steps = fc.array(
  fc.array(
    fc.record({
      replica: fc.nat(REPLICAS - 1),
      /** How many rounds behind the pull was. */
      lag: fc.nat(2),
      ms: fc.nat(20),
      choice: fc.nat(1_000_000),
      arrival: fc.nat(100),
    }),
    { maxLength: 5 },
  ),
  { maxLength: 4 },
);

/** Histories of a kind; `payloadOf` makes a payload from a random number and the state that its author knows. */
export function histories<State, Payload, View>(
  kind: Kind<State, Payload, View>,
  payloadOf: (choice: number, known: State, replica: number) => Payload,
): fc.Arbitrary<History<Payload>> {
  return steps.map((planned) => {
    const rounds: Authored<Payload>[][] = [];
    const pulled = Array.from({ length: REPLICAS }, () => 0);
    const arrivals: { authored: Authored<Payload>; replica: number; arrival: number }[][] = [];
    for (const [index, round] of planned.entries()) {
      const made: Authored<Payload>[] = [];
      const arriving: { authored: Authored<Payload>; replica: number; arrival: number }[] = [];
      for (const { replica, lag, ms, choice, arrival } of round) {
        const upTo = Math.max(pulled[replica] ?? 0, index - lag);
        pulled[replica] = upTo;
        const clientId = replicaId(replica);
        const known = [
          ...rounds.slice(0, upTo).flat(),
          ...[...rounds.slice(upTo), made].flat().filter(({ context }) => context.stamp.clientId === clientId),
        ];
        const saw = new Set(known);
        const last = known.map(({ context }): Instant => context.stamp).reduce(later, { ms: 0, counter: 0 });
        const instant = later({ ms, counter: 0 }, instantAfter(last));
        const authored: Authored<Payload> = {
          payload: payloadOf(choice, fold(kind, known).state, replica),
          context: {
            stamp: { ms: instant.ms, counter: instant.counter, clientId },
            seen: known.length === 0 ? null : last,
            deviceId: replicaId(replica, "d"),
            baseRev: rounds.slice(0, upTo).flat().length,
          },
          saw,
        };
        made.push(authored);
        arriving.push({ authored, replica, arrival });
      }
      rounds.push(made);
      arrivals.push(arriving);
    }
    return { rounds, otherwise: arrivals.flatMap(rearranged) };
  });
}

/** The state and the outcomes after these ops, which get the revisions 1, 2, 3 … */
export function fold<State, Payload, View>(
  kind: Kind<State, Payload, View>,
  ops: readonly Authored<Payload>[],
  initial: State = kind.initial,
): { state: State; applied: Applied<State>[] } {
  const applied: Applied<State>[] = [];
  let state = initial;
  for (const [index, { payload, context }] of ops.entries()) {
    const next = kind.apply(state, payload, { ...context, rev: index + 1 });
    applied.push(next);
    ({ state } = next);
  }
  return { state, applied };
}

/** By `arrival`, but of each replica in its own order. */
function rearranged<Payload>(
  arriving: readonly { authored: Authored<Payload>; replica: number; arrival: number }[],
): Authored<Payload>[] {
  const turns = [...arriving].sort((one, other) => one.arrival - other.arrival).map(({ replica }) => replica);
  const queues = new Map<number, Authored<Payload>[]>();
  for (const { authored, replica } of arriving) queues.set(replica, [...(queues.get(replica) ?? []), authored]);
  return turns.flatMap((replica) => queues.get(replica)?.shift() ?? []);
}

function later(one: Instant, other: Instant): Instant {
  return compareInstants(one, other) >= 0 ? one : other;
}
