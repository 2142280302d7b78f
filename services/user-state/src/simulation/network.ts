/** The network between devices and server: messages may be lost, delayed, doubled or reordered. */
import type { Random } from "./random.ts";

/** What a network needs to know of a sender. */
interface Sender {
  readonly isOffline: boolean;
}

export interface Network {
  /** Sends `ask`; its result travels back in another message to `answer`. Neither need ever arrive. */
  send<Answer>(sender: Sender, ask: () => Promise<Answer>, answer: (answer: Answer) => void): void;
}

/** A network in virtual time: messages arrive when the world delivers them. */
export interface VirtualNetwork extends Network {
  /** Whether messages are no longer lost. */
  readonly isHealed: boolean;
  heal(): void;
  /** Delivers one random message. */
  deliverOne(): Promise<void>;
  deliverAll(): Promise<void>;
  /** Drops messages older than TIMEOUT_MS. */
  expire(): void;
  /** Drops all messages in transit. */
  clear(): void;
}

/** How long a message may be in transit before it is given up, in milliseconds. */
export const TIMEOUT_MS = 2_000;
const LOST_REQUESTS = 0.2;
const LOST_ANSWERS = 0.25;
const DOUBLED = 0.05;

interface Message {
  readonly sender: Sender;
  readonly sentAt: number;
  deliver(): Promise<void>;
}

/** `counts` are incremented; `now` is in milliseconds. */
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
