/** Between devices and a server: whatever is sent may be lost, late, doubled or overtaken. */
import type { Random } from "./random.ts";

/** What a network has to know of a sender. */
interface Sender {
  readonly isOffline: boolean;
}

export interface Network {
  /** Sends `ask` on its way; what it resolves to takes another one, to `answer`. Neither need ever arrive. */
  send<Answer>(sender: Sender, ask: () => Promise<Answer>, answer: (answer: Answer) => void): void;
}

/** One in virtual time: a message arrives when it is its turn. */
export interface VirtualNetwork extends Network {
  /** Whether nothing is lost, late or doubled any more. */
  readonly isHealed: boolean;
  heal(): void;
  /** One message arrives, whichever. */
  deliverOne(): Promise<void>;
  deliverAll(): Promise<void>;
  /** Whatever takes longer than TIMEOUT_MS is given up. */
  expire(): void;
  /** Whatever is under way is given up. */
  clear(): void;
}

/** A request that is under way for longer is given up. */
export const TIMEOUT_MS = 2_000;
const LOST_REQUESTS = 0.2;
const LOST_ANSWERS = 0.25;
const DOUBLED = 0.05;

interface Message {
  readonly sender: Sender;
  readonly sentAt: number;
  deliver(): Promise<void>;
}

/** `counts` are counted up; `now` in milliseconds. */
export function createVirtualNetwork(options: {
  random: Random;
  now: () => number;
  counts: { lost: number; doubled: number };
}): VirtualNetwork {
  const { random, now, counts } = options;
  let under: Message[] = [];
  let isHealed = false;

  function post(sender: Sender, deliver: () => Promise<void>, loss: number): void {
    if (isHealed || !random.chance(loss)) under.push({ sender, sentAt: now(), deliver });
    else counts.lost += 1;
  }

  const network: VirtualNetwork = {
    get isHealed() {
      return isHealed;
    },
    heal() {
      isHealed = true;
    },
    send(sender, ask, answer) {
      const deliver = async (): Promise<void> => {
        const given = await ask();
        post(sender, async () => answer(given), LOST_ANSWERS);
      };
      post(sender, deliver, LOST_REQUESTS);
      if (random.chance(DOUBLED)) {
        counts.doubled += 1;
        post(sender, deliver, LOST_REQUESTS);
      }
    },
    async deliverOne() {
      if (under.length === 0) return;
      const [message] = under.splice(random.below(under.length), 1);
      if (message !== undefined && (isHealed || !message.sender.isOffline)) await message.deliver();
    },
    async deliverAll() {
      while (under.length > 0) await network.deliverOne();
    },
    expire() {
      under = under.filter(({ sentAt }) => now() - sentAt <= TIMEOUT_MS);
    },
    clear() {
      under = [];
    },
  };
  return network;
}
