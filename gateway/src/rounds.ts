/**
 * One timer for many members that must each be called periodically: with thousands of them, a timer each is expensive.
 */

/** A member of the rounds. `visit` must not throw. */
export interface Visited {
  visit(): void;
}

export interface Rounds {
  /** Calls `member` every `everyMs` from now on, the first time within `everyMs`. */
  join(member: Visited): void;
  leave(member: Visited): void;
}

/** Rounds of which only some ping: token expiry is checked more often than peers are pinged. */
export interface PingRounds {
  readonly rounds: Rounds;
  /** One in this many rounds pings. */
  readonly every: number;
}

const ROUND_MS = 1_000;
/** The period is divided into at most this many parts, so that members that join together are not visited together. */
const MOST_PARTS = 20;

/** Creates rounds of `everyMs` milliseconds. The timer runs while there are members. */
export function createRounds(everyMs: number): Rounds {
  const parts = Array.from({ length: Math.max(1, Math.min(MOST_PARTS, everyMs)) }, () => new Set<Visited>());
  let turn = 0;
  let size = 0;
  let timer: NodeJS.Timeout | undefined;

  function visit(): void {
    turn = (turn + 1) % parts.length;
    for (const member of parts[turn] ?? []) member.visit();
  }

  return {
    join(member) {
      parts[Math.floor(Math.random() * parts.length)]?.add(member);
      size += 1;
      timer ??= setInterval(visit, everyMs / parts.length);
    },
    leave(member) {
      if (!parts.some((part) => part.delete(member))) return;
      size -= 1;
      if (size > 0) return;
      clearInterval(timer);
      timer = undefined;
    },
  };
}

/** Rounds of about a second, one of which pings every `pingEveryMs` milliseconds. */
export function createPingRounds(pingEveryMs: number): PingRounds {
  const every = Math.max(1, Math.round(pingEveryMs / ROUND_MS));
  return { rounds: createRounds(pingEveryMs / every), every };
}
