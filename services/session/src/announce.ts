import { devicesTopic, outboxTopic, REVOCATIONS_TOPIC, SIGNING_KEYS_TOPIC, type Pokes } from "@continuo/signals";
import type { RevocationAnnouncer } from "./revocation/revocation.ts";

/** The Postgres schema that this service owns. */
export const SCHEMA = "session";

/** Announces commits as pokes. */
export function createAnnouncer(pokes: Pick<Pokes, "publish">): RevocationAnnouncer {
  return {
    async revoked({ seq, posted }) {
      await Promise.all([pokes.publish(REVOCATIONS_TOPIC, seq), posted && pokes.publish(outboxTopic(SCHEMA), seq)]);
    },
    devicesChanged: (userId, deviceRev) => pokes.publish(devicesTopic(userId), deviceRev),
  };
}

/** Announces that the outbox has new rows. */
export const announcePosted = (pokes: Pokes) => (): Promise<void> => pokes.publish(outboxTopic(SCHEMA), 0);

/** Announces that the signing keys have changed: signers and verifiers read them again. */
export const announceKeys =
  (pokes: Pokes) =>
  (at: Date): Promise<void> =>
    pokes.publish(SIGNING_KEYS_TOPIC, at.getTime());
