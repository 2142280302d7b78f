/** One timer for all of whom each has to be called every so often: where there are thousands, a timer each is dear. */

/** Who is called. Throws nothing. */
export interface Visited {
  visit(): void;
}

export interface Rounds {
  /** Calls `member` every `everyMs` from then on, for the first time before that. */
  join(member: Visited): void;
  leave(member: Visited): void;
}

/** Rounds of which some ping: tokens are looked at more often than peers. */
export interface PingRounds {
  readonly rounds: Rounds;
  /** Of so many rounds one pings. */
  readonly every: number;
}

const ROUND_MS = 1_000;
/** Into so many parts the time is divided at most: those that join together are not called together. */
const MOST_PARTS = 20;

/** Milliseconds. The timer runs while there is a member. */
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

/** Rounds of about a second, of which one every `pingEveryMs` milliseconds pings. */
export function createPingRounds(pingEveryMs: number): PingRounds {
  const every = Math.max(1, Math.round(pingEveryMs / ROUND_MS));
  return { rounds: createRounds(pingEveryMs / every), every };
}
