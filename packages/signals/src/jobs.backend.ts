/** What BullMQ needs from a datastore: a backend for queues, one for workers, and what to close in the end. */
import type { BackendFactory, ConnectionOptions } from "bullmq";

export interface BackendSide {
  readonly factory: BackendFactory;
  /** Only the Redis factory reads it, but BullMQ wants one. */
  readonly connection: ConnectionOptions;
}

export interface JobsBackend extends AsyncDisposable {
  readonly queue: BackendSide;
  readonly worker: BackendSide;
  /** Runs `work` while no other process of the installation runs work of that `name`. */
  alone(name: string, work: () => Promise<void>): Promise<void>;
}
