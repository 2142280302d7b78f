/**
 * Reports which sessions were used recently to the session service, once a second in one batch. It decides no deadline:
 * the session service and the application's policy determine how far a use extends one.
 */
import type { Logger } from "@continuo/process";
import type { SubgraphClient } from "./subgraph/subgraph-client.ts";
import type { GatewayContext } from "./context.ts";

export interface Activity extends AsyncDisposable {
  /** Records that the caller did something of their own accord. Anonymous callers have no session to record. */
  note(context: GatewayContext): void;
}

interface Use {
  readonly sessionId: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly grantId: string;
  readonly generation: number;
  readonly ipPrefix?: string | undefined;
}

const REPORT_EVERY_MS = 1_000;
const BATCH = 1_000;
/** The most uses kept during an outage; beyond that the oldest are dropped. */
const MAX_WAITING = 50_000;

/** Starts reporting. Disposal sends what is left. */
export function startActivity(options: {
  session: Pick<SubgraphClient, "post">;
  logger: Logger;
  reportEveryMs?: number;
}): Activity {
  const { session, logger, reportEveryMs = REPORT_EVERY_MS } = options;
  const waiting = new Map<string, Use>();
  let timer: NodeJS.Timeout | undefined;
  let reporting: Promise<void> = Promise.resolve();
  let closed = false;

  function hold(use: Use): void {
    const known = waiting.get(use.sessionId);
    if (known && known.at >= use.at) return;
    waiting.set(use.sessionId, use);
    const [oldest] = waiting.keys();
    if (waiting.size > MAX_WAITING && oldest !== undefined) waiting.delete(oldest);
  }

  async function report(): Promise<void> {
    while (waiting.size > 0) {
      const batch = [...waiting.values()].slice(0, BATCH);
      for (const { sessionId } of batch) waiting.delete(sessionId);
      try {
        await session.post("/internal/activity", { seen: batch });
      } catch (cause) {
        for (const use of batch) hold(use);
        logger.warn({ err: cause, waiting: waiting.size }, "activity was not reported: it is kept for the next time");
        return;
      }
    }
  }

  function schedule(): void {
    if (closed || timer) return;
    timer = setTimeout(() => {
      reporting = report().finally(() => {
        timer = undefined;
        if (waiting.size > 0) schedule();
      });
    }, reportEveryMs);
  }

  return {
    note({ caller, grant }) {
      if (caller.kind !== "viewer" || grant === undefined) return;
      hold({ sessionId: caller.viewer.sessionId, at: Date.now(), ...grant, ipPrefix: caller.ipPrefix });
      schedule();
    },
    async [Symbol.asyncDispose]() {
      closed = true;
      clearTimeout(timer);
      await reporting;
      await report();
    },
  };
}
